// Package disktest is a file system in memory, for tests of what is built upon
// the contract of kernel/fs. It checks the rules of that contract which bind
// its caller, and can be told to fail.
package disktest

import (
	"fmt"
	"io"
	"sort"
	"sync"
	"syscall"
	"time"

	"kiln/kernel/fs"
)

// BlockSize is the unit in which FS counts space.
const BlockSize = 4096

// FS is a file system in memory.
type FS struct {
	Blocks   int  // of space
	IsRemote bool // what Remote returns

	// Fail, if set, may make a call fail: "read", "write", "sync", "reserve".
	Fail func(call string, off int64) error

	// Before, if set, is called before calls of inode ino, with no lock held:
	// "read", "write", "attr", "reserve", "fallocate". n is how many bytes are
	// read or written at off.
	Before func(call string, ino uint64, off int64, n int)
	// After, if set, is called after Reserve, with no lock held.
	After func()

	mu        sync.Mutex
	inodes    map[uint64]*Inode // guarded by mu: all that exist
	next      uint64            // guarded by mu
	broken    []string          // guarded by mu: rules that the caller broke
	unmounted bool              // guarded by mu
	syncs     int               // guarded by mu
}

var _ fs.Filesystem = (*FS)(nil)

// rootIno is the root's number.
const rootIno = 2

// New returns an empty file system of so many blocks.
func New(blocks int) *FS {
	f := &FS{Blocks: blocks, inodes: map[uint64]*Inode{}, next: rootIno}
	f.create(fs.New{Mode: syscall.S_IFDIR | 0o755}).nlink = 2
	return f
}

// create makes an inode. Called with mu held, or before use.
func (f *FS) create(n fs.New) *Inode {
	now := time.Now()
	i := &Inode{f: f, ino: f.next, attr: fs.Attr{Ino: f.next, Mode: n.Mode, UID: n.UID, GID: n.GID, Rdev: n.Rdev,
		Atime: now, Mtime: now, Ctime: now}, nlink: 1, blocks: map[int64][]byte{}, reserved: map[int64]bool{}}
	if n.Mode&syscall.S_IFMT == syscall.S_IFDIR {
		i.entries, i.nlink = map[string]*entry{}, 2
	}
	f.inodes[i.ino] = i
	f.next++
	return i
}

// rule notes a rule that the caller broke.
func (f *FS) rule(format string, args ...any) {
	f.broken = append(f.broken, fmt.Sprintf(format, args...))
}

// Broken returns the rules that the caller broke.
func (f *FS) Broken() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.broken...)
}

// Referenced returns how many inodes have references.
func (f *FS) Referenced() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, i := range f.inodes {
		if i.refs > 0 {
			n++
		}
	}
	return n
}

// Inodes returns how many inodes exist.
func (f *FS) Inodes() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.inodes)
}

// Unmounted reports whether Unmount was called.
func (f *FS) Unmounted() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.unmounted
}

// Content returns what a file in the root holds on "disk".
func (f *FS) Content(name string) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	e := f.inodes[rootIno].entries[name]
	if e == nil {
		return nil
	}
	i := e.inode
	b := make([]byte, i.attr.Size)
	for n, block := range i.blocks {
		if off := n * BlockSize; off < int64(len(b)) {
			copy(b[off:], block)
		}
	}
	return b
}

func (f *FS) fail(call string, off int64) error {
	if f.unmounted {
		f.rule("%s after Unmount", call)
	}
	if f.Fail == nil {
		return nil
	}
	return f.Fail(call, off)
}

// used returns the blocks in use or reserved. Called with mu held.
func (f *FS) used() (n int) {
	for _, i := range f.inodes {
		n += len(i.blocks) + len(i.reserved)
	}
	return n
}

func (f *FS) Type() string   { return "memory" }
func (f *FS) ReadOnly() bool { return false }
func (f *FS) Remote() bool   { return f.IsRemote }

// Root implements fs.Filesystem.
func (f *FS) Root() (fs.Inode, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := f.inodes[rootIno]
	i.refs++
	return i, nil
}

// Statfs implements fs.Filesystem.
func (f *FS) Statfs() (fs.Statfs, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	free := uint64(f.Blocks - f.used())
	return fs.Statfs{Magic: 0x6b696c6e, BlockSize: BlockSize, Blocks: uint64(f.Blocks), BlocksFree: free, BlocksAvail: free, NameLen: 255}, nil
}

// Sync implements fs.Filesystem.
func (f *FS) Sync() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.syncs++
	return f.fail("sync", 0)
}

// Unmount implements fs.Filesystem.
func (f *FS) Unmount() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, i := range f.inodes {
		if i.refs > 0 {
			f.rule("inode %d has %d references at Unmount", i.ino, i.refs)
		}
	}
	f.unmounted = true
	return nil
}

// entry is a directory's. Positions are never reused.
type entry struct {
	inode *Inode
	pos   int64
}

// Inode is a file of FS. Its fields are guarded by FS.mu.
type Inode struct {
	f        *FS
	ino      uint64
	refs     int
	nlink    uint32
	attr     fs.Attr
	target   string
	entries  map[string]*entry
	nextPos  int64
	blocks   map[int64][]byte
	reserved map[int64]bool
	xattrs   map[string][]byte
}

var _ fs.Inode = (*Inode)(nil)

// lock locks the file system and checks that the caller has a reference.
func (i *Inode) lock(call string) func() {
	i.f.mu.Lock()
	if i.refs <= 0 {
		i.f.rule("%s of inode %d without a reference", call, i.ino)
	}
	if i.f.unmounted {
		i.f.rule("%s of inode %d after Unmount", call, i.ino)
	}
	return i.f.mu.Unlock
}

// before calls FS.Before.
func (i *Inode) before(call string, off int64, n int) {
	if i.f.Before != nil {
		i.f.Before(call, i.ino, off, n)
	}
}

func (i *Inode) Ino() uint64 { return i.ino }

func (i *Inode) IncRef() {
	defer i.lock("IncRef")()
	i.refs++
}

func (i *Inode) DecRef() {
	defer i.lock("DecRef")()
	if i.refs--; i.refs == 0 {
		clear(i.reserved)
	}
	i.free()
}

// free frees an inode without links and references.
func (i *Inode) free() {
	if i.refs == 0 && i.nlink == 0 {
		delete(i.f.inodes, i.ino)
	}
}

func (i *Inode) isDir() bool { return i.entries != nil }

func (i *Inode) Attr() (fs.Attr, error) {
	i.before("attr", 0, 0)
	defer i.lock("Attr")()
	a := i.attr
	a.Nlink, a.Blocks = i.nlink, uint64(len(i.blocks))*BlockSize/512
	return a, nil
}

func (i *Inode) SetAttr(s fs.SetAttr) error {
	defer i.lock("SetAttr")()
	if s.Mode != nil {
		i.attr.Mode = i.attr.Mode&syscall.S_IFMT | *s.Mode&0o7777
	}
	if s.UID != nil {
		i.attr.UID = *s.UID
	}
	if s.GID != nil {
		i.attr.GID = *s.GID
	}
	if s.Atime != nil {
		i.attr.Atime = *s.Atime
	}
	if s.Mtime != nil {
		i.attr.Mtime = *s.Mtime
	}
	i.attr.Ctime = time.Now()
	return nil
}

func (i *Inode) Lookup(name string) (fs.Inode, error) {
	defer i.lock("Lookup")()
	if !i.isDir() {
		return nil, syscall.ENOTDIR
	}
	e := i.entries[name]
	if e == nil {
		return nil, syscall.ENOENT
	}
	e.inode.refs++
	return e.inode, nil
}

func (i *Inode) ReadDir(pos int64, emit func(fs.Dirent) bool) error {
	unlock := i.lock("ReadDir")
	var all []fs.Dirent
	for name, e := range i.entries {
		if e.pos >= pos {
			all = append(all, fs.Dirent{Name: name, Ino: e.inode.ino, Type: uint8(e.inode.attr.Mode >> 12 & 15), Next: e.pos + 1})
		}
	}
	unlock()
	sort.Slice(all, func(a, b int) bool { return all[a].Next < all[b].Next })
	for _, d := range all {
		if !emit(d) {
			break
		}
	}
	return nil
}

// add makes an entry. Called with the lock held.
func (i *Inode) add(name string, child *Inode) {
	i.entries[name] = &entry{child, i.nextPos}
	i.nextPos++
	i.attr.Mtime = time.Now()
}

func (i *Inode) Create(name string, n fs.New) (fs.Inode, error) {
	defer i.lock("Create")()
	if i.nlink == 0 {
		return nil, syscall.ENOENT
	}
	if i.entries[name] != nil {
		return nil, syscall.EEXIST
	}
	child := i.f.create(n)
	child.refs = 1
	if child.isDir() {
		i.nlink++
	}
	i.add(name, child)
	return child, nil
}

func (i *Inode) Symlink(name, target string, n fs.New) (fs.Inode, error) {
	c, err := i.Create(name, n)
	if err == nil {
		defer i.lock("Symlink")()
		c.(*Inode).target, c.(*Inode).attr.Size = target, uint64(len(target))
	}
	return c, err
}

func (i *Inode) Readlink() (string, error) {
	defer i.lock("Readlink")()
	return i.target, nil
}

func (i *Inode) Link(name string, target fs.Inode) error {
	defer i.lock("Link")()
	if i.entries[name] != nil {
		return syscall.EEXIST
	}
	t := target.(*Inode)
	t.nlink++
	i.add(name, t)
	return nil
}

// drop removes an entry. Called with the lock held.
func (i *Inode) drop(name string) {
	c := i.entries[name].inode
	delete(i.entries, name)
	c.nlink--
	if c.isDir() {
		c.nlink--
		i.nlink--
	}
	i.attr.Mtime = time.Now()
	c.free()
}

func (i *Inode) Unlink(name string) error { return i.remove(name, false) }
func (i *Inode) Rmdir(name string) error  { return i.remove(name, true) }

func (i *Inode) remove(name string, dir bool) error {
	defer i.lock("remove")()
	e := i.entries[name]
	switch {
	case e == nil:
		return syscall.ENOENT
	case e.inode.isDir() && !dir:
		return syscall.EISDIR
	case !e.inode.isDir() && dir:
		return syscall.ENOTDIR
	case dir && len(e.inode.entries) > 0:
		return syscall.ENOTEMPTY
	}
	i.drop(name)
	return nil
}

func (i *Inode) Rename(oldName string, newDir fs.Inode, newName string, flags uint32) error {
	defer i.lock("Rename")()
	to := newDir.(*Inode)
	from, target := i.entries[oldName], to.entries[newName]
	switch {
	case from == nil:
		return syscall.ENOENT
	case target != nil && flags&fs.RenameNoReplace != 0:
		return syscall.EEXIST
	case flags&fs.RenameExchange != 0:
		if target == nil {
			return syscall.ENOENT
		}
		from.inode, target.inode = target.inode, from.inode
		return nil
	case target != nil && target.inode.isDir() && len(target.inode.entries) > 0:
		return syscall.ENOTEMPTY
	}
	if target != nil {
		to.drop(newName)
	}
	delete(i.entries, oldName)
	to.add(newName, from.inode)
	if from.inode.isDir() {
		i.nlink--
		to.nlink++
	}
	return nil
}

func (i *Inode) Getxattr(name string) ([]byte, error) {
	defer i.lock("Getxattr")()
	v, ok := i.xattrs[name]
	if !ok {
		return nil, syscall.ENODATA
	}
	return v, nil
}

func (i *Inode) Setxattr(name string, value []byte, flags uint32) error {
	defer i.lock("Setxattr")()
	_, ok := i.xattrs[name]
	switch {
	case ok && flags&fs.XattrCreate != 0:
		return syscall.EEXIST
	case !ok && flags&fs.XattrReplace != 0:
		return syscall.ENODATA
	}
	if i.xattrs == nil {
		i.xattrs = map[string][]byte{}
	}
	i.xattrs[name] = append([]byte(nil), value...)
	return nil
}

func (i *Inode) Removexattr(name string) error {
	defer i.lock("Removexattr")()
	if _, ok := i.xattrs[name]; !ok {
		return syscall.ENODATA
	}
	delete(i.xattrs, name)
	return nil
}

func (i *Inode) Listxattr() ([]string, error) {
	defer i.lock("Listxattr")()
	var names []string
	for n := range i.xattrs {
		names = append(names, n)
	}
	sort.Strings(names)
	return names, nil
}

func (i *Inode) ReadAt(p []byte, off int64) (int, error) {
	i.before("read", off, len(p))
	defer i.lock("ReadAt")()
	if err := i.f.fail("read", off); err != nil {
		return 0, err
	}
	n := 0
	for n < len(p) && off < int64(i.attr.Size) {
		at := off % BlockSize
		k := int(min(BlockSize-at, int64(len(p)-n), int64(i.attr.Size)-off))
		if b := i.blocks[off/BlockSize]; b != nil {
			copy(p[n:n+k], b[at:])
		} else {
			clear(p[n : n+k])
		}
		n, off = n+k, off+int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (i *Inode) WriteAt(p []byte, off int64) (int, error) {
	i.before("write", off, len(p))
	defer i.lock("WriteAt")()
	if err := i.f.fail("write", off); err != nil {
		return 0, err
	}
	for n := 0; n < len(p); {
		at := off % BlockSize
		k := int(min(BlockSize-at, int64(len(p)-n)))
		block := off / BlockSize
		if i.blocks[block] == nil {
			if !i.reserved[block] && !i.f.IsRemote {
				i.f.rule("WriteAt to block %d of inode %d, which was not reserved", block, i.ino)
			}
			i.blocks[block] = make([]byte, BlockSize)
		}
		delete(i.reserved, block)
		copy(i.blocks[block][at:], p[n:n+k])
		n, off = n+k, off+int64(k)
	}
	i.attr.Size = max(i.attr.Size, uint64(off))
	i.attr.Mtime = time.Now()
	return len(p), nil
}

func (i *Inode) Reserve(off, length int64) error {
	defer func() {
		if i.f.After != nil {
			i.f.After()
		}
	}()
	i.before("reserve", off, int(length))
	defer i.lock("Reserve")()
	if err := i.f.fail("reserve", off); err != nil {
		return err
	}
	if off < 0 || length <= 0 {
		i.f.rule("Reserve of %d bytes at %d", length, off)
	}
	var add []int64
	for b := off / BlockSize; b*BlockSize < off+length; b++ {
		if i.blocks[b] == nil && !i.reserved[b] {
			add = append(add, b)
		}
	}
	if i.f.used()+len(add) > i.f.Blocks {
		return syscall.ENOSPC
	}
	for _, b := range add {
		i.reserved[b] = true
	}
	return nil
}

func (i *Inode) Truncate(size int64) error {
	defer i.lock("Truncate")()
	i.cut(size, 1<<62)
	i.attr.Size = uint64(size)
	return nil
}

// cut frees whole blocks in [from, to) and zeroes the rest. Called with the lock
// held.
func (i *Inode) cut(from, to int64) {
	for b, data := range i.blocks {
		start, end := b*BlockSize, (b+1)*BlockSize
		if start >= from && end <= to {
			delete(i.blocks, b)
		} else if end > from && start < to {
			clear(data[max(from-start, 0):min(to-start, BlockSize)])
		}
	}
	for b := range i.reserved {
		if b*BlockSize >= from && (b+1)*BlockSize <= to {
			delete(i.reserved, b)
		}
	}
}

func (i *Inode) Fallocate(mode uint32, off, length int64) error {
	i.before("fallocate", off, int(length))
	defer i.lock("Fallocate")()
	if mode&(fs.FallocPunchHole|fs.FallocZeroRange) != 0 {
		i.cut(off, off+length)
	}
	if mode&fs.FallocPunchHole == 0 {
		for b := off / BlockSize; b*BlockSize < off+length; b++ {
			if i.blocks[b] == nil {
				i.blocks[b] = make([]byte, BlockSize)
			}
		}
	}
	if mode&fs.FallocKeepSize == 0 {
		i.attr.Size = max(i.attr.Size, uint64(off+length))
	}
	return nil
}

func (i *Inode) SeekData(off int64) (int64, error) { return i.seek(off, true) }
func (i *Inode) SeekHole(off int64) (int64, error) { return i.seek(off, false) }

func (i *Inode) seek(off int64, data bool) (int64, error) {
	defer i.lock("seek")()
	size := int64(i.attr.Size)
	for ; off < size; off = (off/BlockSize + 1) * BlockSize {
		if (i.blocks[off/BlockSize] != nil) == data {
			return off, nil
		}
	}
	if data {
		return 0, syscall.ENXIO
	}
	return size, nil
}

func (i *Inode) Sync(dataOnly bool) error {
	defer i.lock("Sync")()
	return i.f.fail("sync", 0)
}
