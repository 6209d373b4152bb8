package ext4

import (
	"bytes"
	"fmt"
	"syscall"

	"kiln/kernel/fs"
)

// An entry of a directory has the inode (4 bytes, 0 if unused), its own
// length up to the next (2), the length of the name (1), the type (1) and the
// name. Entries fill their block exactly; none crosses into the next. With
// metadata_csum, the last 12 bytes look like an unused entry and have the
// block's checksum.
const (
	direntHead   = 8
	dirTailLen   = 12
	dirTailType  = 0xde
	maxName      = 255
	maxDirBlocks = 1 << 22
)

// direntLen returns the room that an entry with a name of n bytes needs.
func direntLen(n int) int { return (direntHead + n + 3) &^ 3 }

// A dirent is an entry as it is in its block.
type dirent struct {
	off  int // bytes in the block
	len  int // up to the next
	ino  uint32
	typ  uint8
	name []byte
}

// getDirent decodes the entry at off in d, which ends a block of entries.
func getDirent(d []byte, off int) (e dirent, ok bool) {
	if off+direntHead > len(d) {
		return e, false
	}
	e = dirent{off: off, len: int(le.Uint16(d[off+4:])), ino: le.Uint32(d[off:]), typ: d[off+7]}
	n := int(d[off+6])
	if e.len < direntLen(n) && !(n == 0 && e.len >= direntHead) || e.len%4 != 0 || e.len > len(d)-off {
		return e, false
	}
	e.name = d[off+direntHead:][:n]
	return e, true
}

func putDirent(d []byte, off, length int, ino uint32, typ uint8, name string) {
	le.PutUint32(d[off:], ino)
	le.PutUint16(d[off+4:], uint16(length))
	d[off+6] = uint8(len(name))
	d[off+7] = typ
	copy(d[off+direntHead:], name)
}

// area returns the part of a directory block that has entries.
func (f *FS) area(d []byte) []byte {
	if f.sb.metaCsum() {
		return d[:len(d)-dirTailLen]
	}
	return d
}

// checkDir checks a block of entries.
func (n *inode) checkDir(nr uint64, d []byte) error {
	f := n.f
	area := f.area(d)
	if f.sb.metaCsum() {
		tail := d[len(area):]
		if le.Uint32(tail) != 0 || le.Uint16(tail[4:]) != dirTailLen || le.Uint16(tail[6:]) != dirTailType<<8 {
			return f.damaged("directory %d: block %d has no checksum", n.ino, nr)
		}
		if got, want := le.Uint32(tail[8:]), crc32c(n.seed, area); got != want {
			return f.damaged("directory %d: block %d: checksum %#x, computed %#x", n.ino, nr, got, want)
		}
	}
	for off := 0; off < len(area); {
		e, ok := getDirent(area, off)
		if !ok || e.ino > f.sb.inodes || e.ino != 0 && (len(e.name) == 0 || bytes.ContainsAny(e.name, "/\x00")) {
			return f.damaged("directory %d: block %d has a bad entry at byte %d", n.ino, nr, off)
		}
		off += e.len
	}
	return nil
}

// dirBuffer returns the buffer of a directory's block lblk, not yet checked.
func (n *inode) dirBuffer(lblk uint64) (*buffer, error) {
	m, err := n.mapBlock(lblk, 1)
	if err != nil {
		return nil, err
	}
	if m.state != written {
		return nil, n.f.damaged("directory %d: block %d is missing", n.ino, lblk)
	}
	return n.f.cache.get(m.nr)
}

// dirBlock returns a block of entries.
//
// Context: n.mu held, or FS.mu.
func (n *inode) dirBlock(lblk uint64) (*buffer, error) {
	b, err := n.dirBuffer(lblk)
	if err != nil {
		return nil, err
	}
	return b, n.f.verify(b, kindDir, n.seed, func(d []byte) error { return n.checkDir(b.nr, d) })
}

// findIn returns the entry called name in a block of entries, and the one
// before it, whose len is 0 if there is none.
func (f *FS) findIn(d []byte, name string) (e, prev dirent, ok bool) {
	area := f.area(d)
	for off := 0; off < len(area); off += e.len {
		prev = e
		if e, ok = getDirent(area, off); !ok {
			return e, prev, false
		}
		if e.ino != 0 && string(e.name) == name {
			return e, prev, true
		}
	}
	return e, prev, false
}

// A slot is where an entry was found.
type slot struct {
	b       *buffer
	e, prev dirent
}

// find returns where the entry called name is, or ENOENT.
//
// Context: n.mu held, or FS.mu.
func (n *inode) find(name string) (slot, error) {
	if !n.isDir() {
		return slot{}, syscall.ENOTDIR
	}
	if len(name) > maxName {
		return slot{}, syscall.ENAMETOOLONG
	}
	if name == "" || name == "." || name == ".." {
		return slot{}, syscall.ENOENT
	}
	if n.indexed {
		return n.findIndexed(name)
	}
	for lblk := range n.f.blocksOf(n.size) {
		b, err := n.dirBlock(lblk)
		if err != nil {
			return slot{}, err
		}
		if e, prev, ok := n.f.findIn(b.bytes(), name); ok {
			return slot{b, e, prev}, nil
		}
	}
	return slot{}, syscall.ENOENT
}

// Lookup implements fs.Inode.
func (n *inode) Lookup(name string) (fs.Inode, error) {
	child, free, err := n.lookup(name)
	if err != nil {
		return nil, err
	}
	if free {
		// Not under the directory's lock: DecRef takes FS.mu.
		child.DecRef()
		return nil, n.f.damaged("directory %d: an entry names inode %d, which is free", n.ino, child.ino)
	}
	return child, nil
}

// lookup is Lookup. free says that the inode has no links, which is damage.
func (n *inode) lookup(name string) (child *inode, free bool, err error) {
	// The lock is held until the inode has a reference: as long as the entry
	// is there, the inode has a link and is not freed.
	n.mu.RLock()
	defer n.mu.RUnlock()
	s, err := n.find(name)
	if err != nil {
		return nil, false, err
	}
	if child, err = n.f.igetLinked(s.e.ino); err != nil {
		return nil, false, err
	}
	return child, child.linkCount() == 0, nil
}

// direntTypes are the types of entries, by their S_IFMT>>12: ext4 has numbers
// of its own.
var direntTypes = [16]uint8{
	syscall.S_IFREG >> 12: 1, syscall.S_IFDIR >> 12: 2, syscall.S_IFCHR >> 12: 3, syscall.S_IFBLK >> 12: 4,
	syscall.S_IFIFO >> 12: 5, syscall.S_IFSOCK >> 12: 6, syscall.S_IFLNK >> 12: 7,
}

// direntType returns the type of an entry for an inode of type typ.
func (f *FS) direntType(typ uint32) uint8 {
	if f.sb.incompat&incompatFiletype == 0 {
		return 0
	}
	return direntTypes[typ>>12]
}

// dtypes are the types of getdents(2), by those of entries.
var dtypes = [8]uint8{0, syscall.DT_REG, syscall.DT_DIR, syscall.DT_CHR, syscall.DT_BLK, syscall.DT_FIFO, syscall.DT_SOCK, syscall.DT_LNK}

// toDirent makes what ReadDir emits.
func (f *FS) toDirent(e dirent, next int64) fs.Dirent {
	d := fs.Dirent{Name: string(e.name), Ino: uint64(e.ino), Next: next}
	if f.sb.incompat&incompatFiletype != 0 && e.typ < uint8(len(dtypes)) {
		d.Type = dtypes[e.typ]
	}
	return d
}

// ReadDir implements fs.Inode.
//
// Positions are hashes of names where the directory has an index or will get
// one when it grows, since entries move then: see readHashed. Elsewhere
// entries never move, and positions are offsets in bytes.
func (n *inode) ReadDir(pos int64, emit func(fs.Dirent) bool) error {
	if !n.isDir() {
		return syscall.ENOTDIR
	}
	if pos < 0 {
		return syscall.EINVAL
	}
	n.mu.RLock()
	hashed := n.indexed || n.f.sb.dirIndex() && n.size <= int64(n.f.sb.blockSize)
	n.mu.RUnlock()
	if hashed {
		return n.readHashed(pos, emit)
	}
	return n.readLinear(pos, emit)
}

func (n *inode) readLinear(pos int64, emit func(fs.Dirent) bool) error {
	bs := int64(n.f.sb.blockSize)
	for lblk := pos / bs; ; lblk++ {
		list, more, err := n.linearBlock(lblk, pos)
		if err != nil || !more {
			return err
		}
		for _, e := range list {
			if !emit(e) {
				return nil
			}
		}
	}
}

// linearBlock returns the entries from pos on in block lblk; more is false
// past the last block.
func (n *inode) linearBlock(lblk, pos int64) (list []fs.Dirent, more bool, err error) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	bs := int64(n.f.sb.blockSize)
	if lblk >= n.size/bs {
		return nil, false, nil
	}
	b, err := n.dirBlock(uint64(lblk))
	if err != nil {
		return nil, false, err
	}
	for _, e := range n.f.entries(b.bytes()) {
		if at := lblk*bs + int64(e.off); at >= pos {
			list = append(list, n.f.toDirent(e, at+1))
		}
	}
	return list, true, nil
}

// entries returns the used entries of a checked block, without . and .. .
func (f *FS) entries(d []byte) []dirent {
	area := f.area(d)
	var list []dirent
	for off := 0; off < len(area); {
		e, ok := getDirent(area, off)
		if !ok {
			break
		}
		if e.ino != 0 && !isDots(e.name) {
			list = append(list, e)
		}
		off += e.len
	}
	return list
}

func isDots(name []byte) bool {
	return len(name) == 1 && name[0] == '.' || len(name) == 2 && name[0] == '.' && name[1] == '.'
}

// checkName checks the name of an entry to be made.
func checkName(name string) error {
	switch {
	case len(name) > maxName:
		return syscall.ENAMETOOLONG
	case name == "", name == ".", name == "..":
		return syscall.EEXIST
	case bytes.ContainsAny([]byte(name), "/\x00"):
		return fmt.Errorf("name %q: %w", name, syscall.EINVAL)
	}
	return nil
}
