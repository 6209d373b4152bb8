// Package ninep is a client of the 9P file protocol in Linux's dialect,
// 9P2000.L (github.com/chaos/diod, protocol.md; constants as in Linux), which
// QEMU serves a folder of the host by.
//
// The server knows files by numbers of the client's, fids. An inode has one
// that stands for a path on the server, and, once its content is wanted, one
// or two that are open. Files change by other hands, and a file may lose one
// of its names: so each lookup gives the inode that it finds its newest path.
//
// Replies are checked: nonsense becomes EIO.
//
// Why not github.com/hugelgupf/p9: its messages are internal to a client that
// wants a stream, where virtio has pairs of buffers, and copies the data that
// we put in place.
//
// Context: ordinary goroutines. Lock order: inode.mu, then FS.mu, then
// session.mu.
package ninep

import (
	"errors"
	"fmt"
	"sync"
	"syscall"

	"kiln/kernel/fs"
)

// magic is V9FS_MAGIC, what statfs(2) reports.
const magic = 0x01021997

// maxName is the longest name that is asked for, bytes.
const maxName = 255

// Options say how to mount.
type Options struct {
	ReadOnly bool
	// UID and GID are the ids, on the server's side, of whom the server runs
	// as. Root of this side stands for them: files of theirs are shown as
	// root's, and what root makes is theirs.
	UID, GID uint32
	// Log hears of errors that have no one else to go to. It may be nil.
	Log func(line string)
}

// FS is a mounted folder. It implements fs.Filesystem.
type FS struct {
	s    *session
	o    Options
	root *inode

	mu     sync.Mutex
	inodes map[uint64]*inode // guarded by mu: those referenced, by qid.path
}

var _ fs.Filesystem = (*FS)(nil)

// Mount attaches to the server behind t.
func Mount(t Transport, o Options) (*FS, error) {
	if o.Log == nil {
		o.Log = func(string) {}
	}
	s, err := newSession(t)
	if err != nil {
		return nil, fmt.Errorf("9p: %w", err)
	}
	f := &FS{s: s, o: o, inodes: make(map[uint64]*inode)}
	root := s.newFid()
	r, err := s.call(tattach, newBody().u32(root.num).u32(noFid).str("").str("").u32(o.UID))
	if err != nil {
		return nil, fmt.Errorf("9p: attach: %w", err)
	}
	q := r.qid()
	if err := r.check(tattach); err != nil {
		return nil, fmt.Errorf("9p: attach: %w", err)
	}
	if q.kind&qidDirectory == 0 {
		return nil, fmt.Errorf("9p: attach: the root is no directory: %w", syscall.ENOTDIR)
	}
	f.root = f.inode(root, q)
	return f, nil
}

// Type is "9p".
func (f *FS) Type() string { return "9p" }

// ReadOnly reports whether it was mounted so.
func (f *FS) ReadOnly() bool { return f.o.ReadOnly }

// Remote is true: the host's programs use the same files.
func (f *FS) Remote() bool { return true }

// Root returns the folder that is served.
func (f *FS) Root() (fs.Inode, error) {
	f.root.IncRef()
	return f.root, nil
}

// Statfs asks the server about its file system.
func (f *FS) Statfs() (fs.Statfs, error) {
	r, err := f.s.call(tstatfs, newBody().u32(f.root.fid.num))
	if err != nil {
		return fs.Statfs{}, err
	}
	r.u32() // the type on the server's side
	st := fs.Statfs{
		Magic: magic, BlockSize: int64(r.u32()), Blocks: r.u64(), BlocksFree: r.u64(),
		BlocksAvail: r.u64(), Files: r.u64(), FilesFree: r.u64(),
	}
	r.u64() // fsid
	st.NameLen = int(min(r.u32(), maxName))
	return st, r.check(tstatfs)
}

// Sync makes durable what was written to files that are still referenced. What
// was written to others, the server's own system writes back in its time: the
// protocol has no word for it, and a fsync with each last reference would cost
// more than it is worth.
func (f *FS) Sync() error {
	f.mu.Lock()
	all := make([]*inode, 0, len(f.inodes))
	for _, in := range f.inodes {
		in.refs++
		all = append(all, in)
	}
	f.mu.Unlock()
	var errs []error
	for _, in := range all {
		errs = append(errs, in.flush())
		in.DecRef()
	}
	return errors.Join(errs...)
}

// Unmount leaves the server.
func (f *FS) Unmount() error {
	err := f.Sync()
	f.root.DecRef()
	return err
}

// inode returns the inode of a file that was found, with a reference. It takes
// over path, which becomes the inode's way to the file.
func (f *FS) inode(path *fid, q qid) *inode {
	f.mu.Lock()
	in := f.inodes[q.path]
	// A server gives a number that has become free to another file.
	if in == nil || in.kind != q.kind {
		in = &inode{f: f, number: q.path, kind: q.kind, fid: path, refs: 1}
		f.inodes[q.path] = in
		f.mu.Unlock()
		return in
	}
	in.refs++
	f.mu.Unlock()
	in.mu.Lock()
	old := in.fid
	in.fid = path
	in.lost.Store(nil)
	in.mu.Unlock()
	f.release(old)
	return in
}

// release lets go of a fid whose end is of no consequence.
func (f *FS) release(x *fid) {
	if err := x.release(); err != nil {
		f.o.Log(fmt.Sprintf("forgetting a file: %v", err))
	}
}

// fromServer and toServer translate owners.
func fromServer(id, own uint32) uint32 {
	if id == own {
		return 0
	}
	return id
}

func toServer(id, own uint32) uint32 {
	if id == 0 {
		return own
	}
	return id
}
