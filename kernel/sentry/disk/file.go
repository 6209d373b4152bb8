package disk

import (
	"sync"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/pkg/sentry/memmap"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
	"gvisor.dev/gvisor/pkg/usermem"

	"kiln/kernel/fs"
)

// rwfAppend is RWF_APPEND of pwritev2(2), which gVisor's abi does not have.
const rwfAppend = 0x10

// regularFD is the description of an open regular file, or of a raw device.
type regularFD struct {
	fileDescription
	vfs.LockFD
	vfs.NoAsyncEventFD
	node *node

	mu    sync.Mutex
	off   int64     // guarded by mu
	ahead readAhead // guarded by mu
}

var _ vfs.FileDescriptionImpl = (*regularFD)(nil)

// Release implements vfs.FileDescriptionImpl.
func (fd *regularFD) Release(context.Context) {}

// OnClose implements vfs.FileDescriptionImpl. What others are to see of a remote
// file is written back when it is closed.
func (fd *regularFD) OnClose(ctx context.Context) error {
	if !fd.node.d.remote || fd.node.isClosed() {
		return nil
	}
	return fd.node.d.errno(fd.node.writeBack())
}

// Allocate implements vfs.FileDescriptionImpl.
func (fd *regularFD) Allocate(ctx context.Context, mode, offset, length uint64) error {
	const known = fs.FallocKeepSize | fs.FallocPunchHole | fs.FallocZeroRange
	punch := mode&fs.FallocPunchHole != 0
	if mode&^known != 0 || punch && mode != fs.FallocPunchHole|fs.FallocKeepSize {
		return linuxerr.EOPNOTSUPP
	}
	n := fd.node
	n.mu.Lock()
	defer n.mu.Unlock()
	if mode&fs.FallocKeepSize == 0 {
		limit, err := vfs.CheckLimit(ctx, int64(offset), int64(length))
		if err != nil {
			return err
		}
		if uint64(limit) < length {
			return linuxerr.ErrExceedsFileSizeLimit
		}
	}
	if n.isClosed() {
		return linuxerr.EIO
	}
	if err := n.clearPrivileges(auth.CredentialsFromContext(ctx)); err != nil {
		return err
	}
	if err := n.content.fallocate(uint32(mode), offset, length); err != nil {
		return n.d.errno(err)
	}
	n.touch()
	return nil
}

// PRead implements vfs.FileDescriptionImpl.
func (fd *regularFD) PRead(ctx context.Context, dst usermem.IOSequence, offset int64, opts vfs.ReadOptions) (int64, error) {
	fd.mu.Lock()
	ahead := fd.ahead
	fd.mu.Unlock()
	n, err := fd.read(ctx, dst, offset, opts, &ahead)
	fd.mu.Lock()
	fd.ahead = ahead
	fd.mu.Unlock()
	return n, err
}

// read is PRead with what it knows of reads before.
func (fd *regularFD) read(ctx context.Context, dst usermem.IOSequence, offset int64, opts vfs.ReadOptions, ahead *readAhead) (int64, error) {
	if offset < 0 {
		return 0, linuxerr.EINVAL
	}
	if opts.Flags&^linux.RWF_HIPRI != 0 {
		return 0, linuxerr.EOPNOTSUPP
	}
	if fd.node.d.remote {
		return fd.node.readRemote(ctx, dst, offset)
	}
	n, err := fd.node.content.readTo(ctx, dst, uint64(offset), ahead)
	return n, fd.node.d.errno(err)
}

// Read implements vfs.FileDescriptionImpl.
func (fd *regularFD) Read(ctx context.Context, dst usermem.IOSequence, opts vfs.ReadOptions) (int64, error) {
	fd.mu.Lock()
	defer fd.mu.Unlock()
	n, err := fd.read(ctx, dst, fd.off, opts, &fd.ahead)
	fd.off += n
	return n, err
}

// PWrite implements vfs.FileDescriptionImpl.
func (fd *regularFD) PWrite(ctx context.Context, src usermem.IOSequence, offset int64, opts vfs.WriteOptions) (int64, error) {
	n, _, err := fd.write(ctx, src, offset, opts)
	return n, err
}

// Write implements vfs.FileDescriptionImpl.
func (fd *regularFD) Write(ctx context.Context, src usermem.IOSequence, opts vfs.WriteOptions) (int64, error) {
	fd.mu.Lock()
	defer fd.mu.Unlock()
	n, off, err := fd.write(ctx, src, fd.off, opts)
	fd.off = off
	return n, err
}

// write writes at offset, or at the end of the file with O_APPEND, and returns
// where the next write would begin.
func (fd *regularFD) write(ctx context.Context, src usermem.IOSequence, offset int64, opts vfs.WriteOptions) (written, end int64, err error) {
	if offset < 0 {
		return 0, offset, linuxerr.EINVAL
	}
	if opts.Flags&^(linux.RWF_HIPRI|linux.RWF_DSYNC|linux.RWF_SYNC|rwfAppend) != 0 {
		return 0, offset, linuxerr.EOPNOTSUPP
	}
	n := fd.node
	n.mu.Lock()
	written, end, err = fd.writeLocked(ctx, src, offset, opts)
	n.mu.Unlock()
	if written == 0 {
		return written, end, err
	}
	flags := fd.vfsfd.StatusFlags()
	var syncErr error
	switch {
	case flags&linux.O_SYNC == linux.O_SYNC || opts.Flags&linux.RWF_SYNC != 0:
		syncErr = n.sync(false)
	case flags&linux.O_DSYNC != 0 || opts.Flags&linux.RWF_DSYNC != 0:
		syncErr = n.sync(true)
	case flags&linux.O_DIRECT != 0:
		syncErr = n.d.errno(n.content.writeBack())
	}
	if syncErr != nil {
		return 0, offset, syncErr
	}
	return written, end, err
}

// writeLocked is the part of write that node.mu is held for.
func (fd *regularFD) writeLocked(ctx context.Context, src usermem.IOSequence, offset int64, opts vfs.WriteOptions) (written, end int64, err error) {
	n := fd.node
	if n.isClosed() {
		return 0, offset, linuxerr.EIO
	}
	if fd.vfsfd.StatusFlags()&linux.O_APPEND != 0 || opts.Flags&rwfAppend != 0 {
		if n.d.remote {
			if err := n.content.refresh(); err != nil {
				return 0, offset, err
			}
		}
		offset = int64(n.content.size.Load())
	}
	limit, err := vfs.CheckLimit(ctx, offset, src.NumBytes())
	if err != nil {
		return 0, offset, err
	}
	src = src.TakeFirst64(limit)
	if src.NumBytes() == 0 {
		return 0, offset, nil
	}
	if err := n.clearPrivileges(auth.CredentialsFromContext(ctx)); err != nil {
		return 0, offset, err
	}
	if n.d.remote {
		written, err = n.writeRemote(ctx, src, offset)
	} else {
		n.touch()
		written, err = n.content.writeFrom(ctx, src, uint64(offset))
	}
	return written, offset + written, n.d.errno(err)
}

// Seek implements vfs.FileDescriptionImpl.
func (fd *regularFD) Seek(ctx context.Context, offset int64, whence int32) (int64, error) {
	fd.mu.Lock()
	defer fd.mu.Unlock()
	n := fd.node
	switch whence {
	case linux.SEEK_SET:
	case linux.SEEK_CUR:
		offset += fd.off
	case linux.SEEK_END:
		if n.d.remote {
			if err := n.content.refresh(); err != nil {
				return 0, err
			}
		}
		offset += int64(n.content.size.Load())
	case linux.SEEK_DATA, linux.SEEK_HOLE:
		var err error
		if offset, err = n.seek(offset, whence == linux.SEEK_DATA); err != nil {
			return 0, err
		}
	default:
		return 0, linuxerr.EINVAL
	}
	if offset < 0 {
		return 0, linuxerr.EINVAL
	}
	fd.off = offset
	return offset, nil
}

// seek finds data or a hole.
func (n *node) seek(offset int64, data bool) (int64, error) {
	if offset < 0 || uint64(offset) >= n.content.size.Load() {
		return 0, linuxerr.ENXIO
	}
	if n.isClosed() {
		return 0, linuxerr.EIO
	}
	// What is dirty has no place on disk yet.
	if err := n.content.writeBack(); err != nil {
		return 0, n.d.errno(err)
	}
	find := n.inode.SeekHole
	if data {
		find = n.inode.SeekData
	}
	off, err := find(offset)
	return off, n.d.errno(err)
}

// Sync implements vfs.FileDescriptionImpl.
func (fd *regularFD) Sync(ctx context.Context, opts vfs.SyncOptions) error {
	return fd.node.sync(opts.DataOnly)
}

// ConfigureMMap implements vfs.FileDescriptionImpl.
func (fd *regularFD) ConfigureMMap(ctx context.Context, opts *memmap.MMapOpts) error {
	return vfs.GenericConfigureMMap(&fd.vfsfd, fd.node.content, opts)
}
