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

	// A reference is a user's, or one for work on the file that ends by itself:
	// writing back, reading ahead, settling. See begin.
	refs   int  // guarded by d.nodesMu
	users  int  // guarded by d.nodesMu: how many of refs are users'
	closed bool // guarded by d.nodesMu: not in d.nodes any more
	gone   bool // guarded by d.nodesMu: memory and inode are given back

	locks   vfs.FileLocks
	watches vfs.Watches
	content *content // of regular files, else nil

	// mu orders changes of content, size and attributes.
	mu sync.RWMutex

	timesMu sync.Mutex
	mtime   time.Time // guarded by timesMu: if not zero, newer than the inode's

	linkable bool                    // it has no name and may get one (O_TMPFILE); guarded by d.treeMu
	pipe     *pipe.VFSPipe           // of a FIFO
	endpoint transport.BoundEndpoint // of a bound socket, or nil; set before the node is found
}

// node returns the node of an inode, with a reference. It takes over the
// caller's reference to the inode.
//
// Called with treeMu held: while attributes are read here, others may make a
// node of the same file and use it, but nobody evicts that one.
func (d *Filesystem) node(i fs.Inode) (*node, error) {
	if n := d.known(i); n != nil {
		i.DecRef()
		return n, nil
	}
	a, err := i.Attr()
	if err != nil {
		i.DecRef()
		return nil, d.errno(err)
	}
	n := &node{d: d, inode: i, kind: linux.FileMode(a.Mode & linux.S_IFMT), rdev: a.Rdev, refs: 1, users: 1}
	switch n.kind {
	case linux.S_IFREG:
		n.content = newContent(n, a.Size)
	case linux.S_IFIFO:
		n.pipe = pipe.NewVFSPipe(true, pipe.DefaultPipeSize)
	}
	if n = d.insert(n); n == nil {
		return nil, linuxerr.EIO
	}
	return n, nil
}

// known returns the node of an inode, with a reference, or nil.
func (d *Filesystem) known(i fs.Inode) *node {
	d.nodesMu.Lock()
	defer d.nodesMu.Unlock()
	n := d.nodes[i]
	if n != nil {
		n.refs++
		n.users++
	}
	return n
}

// insert puts a new node in the table, unless another has been faster: then it
// returns that one. It returns nil if the file system was shut down.
func (d *Filesystem) insert(n *node) *node {
	d.nodesMu.Lock()
	other := d.nodes[n.inode]
	switch {
	case other != nil:
		other.refs++
		other.users++
	case !d.closed:
		d.nodes[n.inode] = n
		other = n
	}
	d.nodesMu.Unlock()
	if other != n {
		n.inode.DecRef()
	}
	return other
}

// decRef gives back a user's reference. The last reference writes the file back
// and gives back the inode. The caller holds no lock that input or output would
// hold up.
//
// If the last user of a file without a name finds work on it under way, decRef
// waits until that has ended: who has removed a file finds its space free.
func (n *node) decRef() {
	n.d.nodesMu.Lock()
	n.users--
	wait := n.users == 0 && n.refs > 1 && !n.closed
	n.d.nodesMu.Unlock()
	wait = wait && n.isNameless()
	n.release()
	if !wait {
		return
	}
	n.d.nodesMu.Lock()
	defer n.d.nodesMu.Unlock()
	for n.users == 0 && !n.gone {
		n.d.settled.Wait()
	}
}

// isNameless reports whether no directory has the file any more.
func (n *node) isNameless() bool {
	a, err := n.inode.Attr()
	return err == nil && a.Nlink == 0
}

// begin takes a reference for work on a file that ends by itself, unless the
// file is gone. The work ends with release.
func (n *node) begin() bool {
	n.d.nodesMu.Lock()
	defer n.d.nodesMu.Unlock()
	if n.closed {
		return false
	}
	n.refs++
	return true
}

// release gives back a reference that is no user's, with what the last one does.
func (n *node) release() {
	d := n.d
	d.nodesMu.Lock()
	// The node stays in the table until nothing is dirty, so that whoever looks
	// the file up meanwhile finds this content. They may change it, and be gone
	// again before settle has ended: nothing is lost, for what they leave dirty
	// is settled in turn.
	for settled := false; n.refs == 1 && !n.closed && (!settled || n.isDirty()); settled = true {
		d.nodesMu.Unlock()
		n.settle()
		d.nodesMu.Lock()
	}
	n.refs--
	last := n.refs == 0 && !n.closed
	if last {
		n.closed = true
		d.work++
		delete(d.nodes, n.inode)
	}
	d.settled.Broadcast()
	d.nodesMu.Unlock()
	if !last {
		return
	}
	n.giveBack()
	d.endWork()
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
	n.d.nodesMu.Lock()
	defer n.d.nodesMu.Unlock()
	n.gone = true
	n.d.settled.Broadcast()
}

// close releases a node of a file system that is shut down, once the work on
// it has ended. It has been written back, but for files without a name.
func (n *node) close() error {
	n.d.nodesMu.Lock()
	closed := n.closed
	n.closed = true
	for !closed && n.refs > n.users {
		n.d.settled.Wait()
	}
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
// see begin.
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
