package disk

import (
	"sync"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/vfs"

	"kiln/kernel/fs"
)

// directoryFD is the description of an open directory.
type directoryFD struct {
	fileDescription
	vfs.DirectoryFileDescriptionDefaultImpl
	vfs.LockFD

	mu  sync.Mutex
	off int64 // guarded by mu; see position
}

// Positions in a directory: 0 is before ".", 1 before "..", and what follows is
// the file system's position plus 2.
const (
	posDot    = 0
	posDotDot = 1
	posFirst  = 2
)

// Release implements vfs.FileDescriptionImpl.
func (fd *directoryFD) Release(context.Context) {}

// Allocate implements vfs.FileDescriptionImpl.
func (fd *directoryFD) Allocate(ctx context.Context, mode, offset, length uint64) error {
	return fd.DirectoryFileDescriptionDefaultImpl.Allocate(ctx, mode, offset, length)
}

// direntBatch is how many entries are taken from a file system at once.
const direntBatch = 64

// IterDirents implements vfs.FileDescriptionImpl.
func (fd *directoryFD) IterDirents(ctx context.Context, cb vfs.IterDirentsCallback) error {
	fd.mu.Lock()
	defer fd.mu.Unlock()
	e := fd.dentry()
	if e.deleted.Load() {
		return linuxerr.ENOENT // of a removed directory, as Linux does
	}
	if err := fd.dots(cb); err != nil {
		return err
	}
	if e.node.isClosed() {
		return linuxerr.EIO
	}
	for {
		// The callback copies to a program's memory: not with the file
		// system's locks held.
		var batch []fs.Dirent
		err := e.node.inode.ReadDir(fd.off-posFirst, func(x fs.Dirent) bool {
			batch = append(batch, x)
			return len(batch) < direntBatch
		})
		for _, x := range batch {
			next := x.Next + posFirst
			if err := cb.Handle(vfs.Dirent{Name: x.Name, Type: x.Type, Ino: x.Ino, NextOff: next}); err != nil {
				return err
			}
			fd.off = next
		}
		if err != nil {
			return e.d.errno(err)
		}
		if len(batch) < direntBatch {
			return nil
		}
	}
}

// dots emits "." and "..".
func (fd *directoryFD) dots(cb vfs.IterDirentsCallback) error {
	e := fd.dentry()
	if fd.off == posDot {
		if err := cb.Handle(vfs.Dirent{Name: ".", Type: linux.DT_DIR, Ino: e.node.inode.Ino(), NextOff: posDotDot}); err != nil {
			return err
		}
		fd.off = posDotDot
	}
	if fd.off == posDotDot {
		e.d.treeMu.RLock()
		parent := e
		if e.parent != nil {
			parent = e.parent
		}
		ino := parent.node.inode.Ino()
		e.d.treeMu.RUnlock()
		if err := cb.Handle(vfs.Dirent{Name: "..", Type: linux.DT_DIR, Ino: ino, NextOff: posFirst}); err != nil {
			return err
		}
		fd.off = posFirst
	}
	return nil
}

// Seek implements vfs.FileDescriptionImpl.
func (fd *directoryFD) Seek(ctx context.Context, offset int64, whence int32) (int64, error) {
	fd.mu.Lock()
	defer fd.mu.Unlock()
	switch whence {
	case linux.SEEK_SET:
	case linux.SEEK_CUR:
		offset += fd.off
	default:
		return 0, linuxerr.EINVAL
	}
	if offset < 0 {
		return 0, linuxerr.EINVAL
	}
	fd.off = offset
	return offset, nil
}

// Sync implements vfs.FileDescriptionImpl.
func (fd *directoryFD) Sync(ctx context.Context, opts vfs.SyncOptions) error {
	return fd.dentry().node.sync(opts.DataOnly)
}
