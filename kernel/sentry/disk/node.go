package disk

import (
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/pkg/sentry/kernel/pipe"
	"gvisor.dev/gvisor/pkg/sentry/socket/unix/transport"
	"gvisor.dev/gvisor/pkg/sentry/vfs"

	"kiln/kernel/fs"
)

// node is a file: what all its names and descriptions share.
type node struct {
	d     *Filesystem
	inode fs.Inode // one reference, from node until close
	kind  linux.FileMode
	rdev  uint64

	refs     int  // guarded by d.nodesMu
	flushing int  // guarded by d.nodesMu: how many of refs are beginFlush's
	closed   bool // guarded by d.nodesMu: inode is given back

	locks   vfs.FileLocks
	watches vfs.Watches
	content *content // of regular files, else nil

	// mu orders changes of content, size and attributes.
	mu sync.RWMutex

	timesMu sync.Mutex
	mtime   time.Time // guarded by timesMu: if not zero, newer than the inode's

	pipe     *pipe.VFSPipe           // of a FIFO
	endpoint transport.BoundEndpoint // of a bound socket, or nil; set before the node is found
}

// node returns the node of an inode, with a reference. It takes over the
// caller's reference to the inode.
func (d *Filesystem) node(i fs.Inode) (*node, error) {
	d.nodesMu.Lock()
	if n, ok := d.nodes[i]; ok {
		n.refs++
		d.nodesMu.Unlock()
		i.DecRef()
		return n, nil
	}
	closed := d.closed
	d.nodesMu.Unlock()
	var a fs.Attr
	err := error(linuxerr.EIO)
	if !closed {
		a, err = i.Attr()
	}
	if err != nil {
		i.DecRef()
		return nil, d.errno(err)
	}
	n := &node{d: d, inode: i, kind: linux.FileMode(a.Mode & linux.S_IFMT), rdev: a.Rdev, refs: 1}
	switch n.kind {
	case linux.S_IFREG:
		n.content = newContent(n, a.Size)
	case linux.S_IFIFO:
		n.pipe = pipe.NewVFSPipe(true, pipe.DefaultPipeSize)
	}
	return d.insert(n), nil
}

// insert puts a new node in the table, unless another has been faster: then it
// returns that one.
func (d *Filesystem) insert(n *node) *node {
	d.nodesMu.Lock()
	if other, ok := d.nodes[n.inode]; ok {
		other.refs++
		d.nodesMu.Unlock()
		n.inode.DecRef()
		return other
	}
	if d.closed {
		n.closed = true
		defer n.inode.DecRef()
	} else {
		d.nodes[n.inode] = n
	}
	d.nodesMu.Unlock()
	return n
}

func (n *node) incRef() {
	n.d.nodesMu.Lock()
	defer n.d.nodesMu.Unlock()
	n.refs++
}

// decRef gives back a reference. The last one writes the file back and gives
// back the inode. The caller holds no lock that input or output would hold up.
//
// If only those who write back have references left, and the file has no name,
// decRef waits until they are done: who has removed a file finds its space free.
func (n *node) decRef() {
	wait := n.isLeftToFlush() && n.isNameless()
	n.release()
	if !wait {
		return
	}
	n.d.nodesMu.Lock()
	defer n.d.nodesMu.Unlock()
	for n.flushing > 0 {
		n.d.written.Wait()
	}
}

// isLeftToFlush reports whether all references but the caller's are
// beginFlush's.
func (n *node) isLeftToFlush() bool {
	n.d.nodesMu.Lock()
	defer n.d.nodesMu.Unlock()
	return n.flushing > 0 && n.refs == n.flushing+1 && !n.closed
}

// isNameless reports whether no directory has the file any more.
func (n *node) isNameless() bool {
	a, err := n.inode.Attr()
	return err == nil && a.Nlink == 0
}

// beginFlush takes a reference for writing back, unless the file is gone.
func (n *node) beginFlush() bool {
	n.d.nodesMu.Lock()
	defer n.d.nodesMu.Unlock()
	if n.closed {
		return false
	}
	n.refs++
	n.flushing++
	return true
}

// endFlush gives back the reference of beginFlush.
func (n *node) endFlush() {
	n.release()
	n.d.nodesMu.Lock()
	defer n.d.nodesMu.Unlock()
	n.flushing--
	n.d.written.Broadcast()
}

// release gives back a reference, with what the last one does.
func (n *node) release() {
	d := n.d
	d.nodesMu.Lock()
	if n.refs > 1 || n.closed {
		n.refs--
		d.nodesMu.Unlock()
		return
	}
	d.nodesMu.Unlock()
	// The node stays in the table until nothing is dirty, so that whoever
	// looks the file up meanwhile finds this content.
	n.settle()
	d.nodesMu.Lock()
	n.refs--
	last := n.refs == 0 && !n.closed
	if last {
		n.closed = true
		delete(d.nodes, n.inode)
	}
	d.nodesMu.Unlock()
	if last {
		n.giveBack()
	}
}

// settle writes a file back that may be about to go, or, if it has no name any
// more, forgets what would be written.
func (n *node) settle() {
	if n.isNameless() {
		if n.content != nil {
			n.content.forget()
		}
		n.timesMu.Lock()
		n.mtime = time.Time{}
		n.timesMu.Unlock()
		return
	}
	if err := n.writeBack(); err != nil {
		n.d.reporter.report("write back", err)
	}
}

// giveBack gives back memory and inode.
func (n *node) giveBack() {
	if n.content != nil {
		n.content.forget()
	}
	n.inode.DecRef()
}

// close releases a node of a file system that is shut down. It has been
// written back, but for files without a name.
func (n *node) close() error {
	n.d.nodesMu.Lock()
	closed := n.closed
	n.closed = true
	n.d.nodesMu.Unlock()
	if closed {
		return nil
	}
	var err error
	if a, e := n.inode.Attr(); e != nil || a.Nlink != 0 {
		err = n.writeBack()
	}
	n.giveBack()
	return err
}

// dirtyNodes returns the nodes with something to write back, without references:
// see beginFlush.
func (d *Filesystem) dirtyNodes() []*node {
	d.nodesMu.Lock()
	defer d.nodesMu.Unlock()
	var dirty []*node
	for _, n := range d.nodes {
		if n.isDirty() {
			dirty = append(dirty, n)
		}
	}
	return dirty
}

func (n *node) isDirty() bool {
	if n.content != nil && n.content.dirty.Load() > 0 {
		return true
	}
	n.timesMu.Lock()
	defer n.timesMu.Unlock()
	return !n.mtime.IsZero()
}

// writeBack gives the inode what is dirty.
func (n *node) writeBack() error {
	if n.content == nil {
		return nil
	}
	err := n.content.writeBack()
	if e := n.writeTimes(); err == nil {
		err = e
	}
	return err
}

// sync is fsync(2), or with dataOnly fdatasync(2).
func (n *node) sync(dataOnly bool) error {
	if n.isClosed() {
		return linuxerr.EIO
	}
	if n.content != nil {
		err := n.content.writeBack()
		if !dataOnly && err == nil {
			err = n.writeTimes()
		}
		// Also what was written back in vain before.
		if lost := n.content.takeLost(); lost != nil {
			err = lost
		}
		if err != nil {
			return n.d.errno(err)
		}
	}
	return n.d.errno(n.inode.Sync(dataOnly))
}

// touch sets the time of the last change to now, in memory.
func (n *node) touch() {
	now := time.Unix(0, n.d.now())
	n.timesMu.Lock()
	n.mtime = now
	n.timesMu.Unlock()
}

// writeTimes gives the inode its time of the last change.
func (n *node) writeTimes() error {
	n.timesMu.Lock()
	m := n.mtime
	n.timesMu.Unlock()
	if m.IsZero() {
		return nil
	}
	err := n.inode.SetAttr(fs.SetAttr{Mtime: &m})
	n.timesMu.Lock()
	if n.mtime.Equal(m) {
		n.mtime = time.Time{}
	}
	n.timesMu.Unlock()
	return err
}

// attr returns the attributes as programs see them.
func (n *node) attr() (fs.Attr, error) {
	if n.isClosed() {
		return fs.Attr{}, linuxerr.EIO
	}
	a, err := n.inode.Attr()
	if err != nil {
		return a, n.d.errno(err)
	}
	if n.content == nil || n.d.remote {
		return a, nil
	}
	a.Size = n.content.size.Load()
	n.timesMu.Lock()
	if !n.mtime.IsZero() {
		a.Mtime, a.Ctime = n.mtime, n.mtime
	}
	n.timesMu.Unlock()
	return a, nil
}

// isClosed reports whether the file system was shut down.
func (n *node) isClosed() bool {
	n.d.nodesMu.Lock()
	defer n.d.nodesMu.Unlock()
	return n.closed
}

func (n *node) isDir() bool     { return n.kind == linux.S_IFDIR }
func (n *node) isSymlink() bool { return n.kind == linux.S_IFLNK }

// checkPermissions checks creds against the node's mode.
func (n *node) checkPermissions(creds *auth.Credentials, ats vfs.AccessTypes) error {
	a, err := n.attr()
	if err != nil {
		return err
	}
	return vfs.GenericCheckPermissions(creds, ats, linux.FileMode(a.Mode), nil, auth.KUID(a.UID), auth.KGID(a.GID))
}

// mayDelete checks whether creds may take child out of directory n.
func (n *node) mayDelete(creds *auth.Credentials, child *node) error {
	dir, err := n.attr()
	if err != nil {
		return err
	}
	a, err := child.attr()
	if err != nil {
		return err
	}
	return vfs.CheckDeleteSticky(creds, linux.FileMode(dir.Mode), auth.KUID(dir.UID), auth.KUID(a.UID), auth.KGID(a.GID))
}

// setStat changes attributes.
func (n *node) setStat(stat *linux.Statx, clearPrivs bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	a, err := n.attr()
	if err != nil {
		return err
	}
	var s fs.SetAttr
	if stat.Mask&linux.STATX_MODE != 0 {
		mode := uint32(stat.Mode) & 07777
		s.Mode = &mode
	}
	if stat.Mask&linux.STATX_UID != 0 {
		s.UID = &stat.UID
	}
	if stat.Mask&linux.STATX_GID != 0 {
		s.GID = &stat.GID
	}
	if clearPrivs && s.Mode == nil && n.kind == linux.S_IFREG {
		if mode := vfs.ClearSUIDAndSGID(a.Mode); mode != a.Mode {
			mode &= 07777
			s.Mode = &mode
		}
	}
	s.Atime = n.timestamp(stat.Mask&linux.STATX_ATIME != 0, stat.Atime)
	s.Mtime = n.timestamp(stat.Mask&linux.STATX_MTIME != 0, stat.Mtime)
	if stat.Mask&linux.STATX_SIZE != 0 {
		if err := n.resize(stat.Size); err != nil {
			return err
		}
		if s.Mtime == nil {
			n.touch()
		}
	}
	if s == (fs.SetAttr{}) {
		return nil
	}
	if s.Mtime != nil {
		// Data that is dirty now would make the time another one when it is
		// written back.
		if err := n.writeBack(); err != nil {
			return n.d.errno(err)
		}
	}
	return n.d.errno(n.inode.SetAttr(s))
}

// timestamp returns what utimensat(2) asks for, nil if nothing.
func (n *node) timestamp(set bool, t linux.StatxTimestamp) *time.Time {
	if !set {
		return nil
	}
	v := time.Unix(t.Sec, int64(t.Nsec))
	if t.Nsec == linux.UTIME_NOW {
		v = time.Unix(0, n.d.now())
	}
	return &v
}

// resize sets the size of a file.
//
// Called with mu held.
func (n *node) resize(size uint64) error {
	switch {
	case n.isDir():
		return linuxerr.EISDIR
	case n.content == nil:
		return linuxerr.EINVAL
	}
	return n.d.errno(n.content.truncate(size))
}

// clearPrivileges takes the set-id bits from a file that is written to.
func (n *node) clearPrivileges(creds *auth.Credentials) error {
	a, err := n.attr()
	if err != nil {
		return err
	}
	mode := vfs.ClearSUIDAndSGID(a.Mode)
	if mode == a.Mode || creds.HasSelfCapability(linux.CAP_FSETID) {
		return nil
	}
	mode &= 07777
	return n.d.errno(n.inode.SetAttr(fs.SetAttr{Mode: &mode}))
}

// stat returns the attributes as statx(2) has them.
func (n *node) stat() (s linux.Statx, err error) {
	a, err := n.attr()
	if err != nil {
		return s, err
	}
	s.Mask = linux.STATX_BASIC_STATS
	s.Blksize = pageSize
	s.Nlink, s.UID, s.GID, s.Mode = a.Nlink, a.UID, a.GID, uint16(a.Mode)
	s.Ino, s.Size, s.Blocks = a.Ino, a.Size, a.Blocks
	s.Atime, s.Mtime, s.Ctime = statxTime(a.Atime), statxTime(a.Mtime), statxTime(a.Ctime)
	if !a.Btime.IsZero() {
		s.Mask |= linux.STATX_BTIME
		s.Btime = statxTime(a.Btime)
	}
	s.RdevMajor, s.RdevMinor = deviceNumber(a.Rdev)
	s.DevMajor, s.DevMinor = linux.UNNAMED_MAJOR, n.d.devMinor
	return s, nil
}

func statxTime(t time.Time) linux.StatxTimestamp {
	return linux.StatxTimestamp{Sec: t.Unix(), Nsec: uint32(t.Nanosecond())}
}

// deviceNumber takes fs.Dev's encoding apart.
func deviceNumber(dev uint64) (major, minor uint32) {
	return uint32(dev>>8) & 0xfff, uint32(dev&0xff) | uint32(dev>>12)&^0xff
}
