package disk

import (
	"fmt"
	"io"
	"strconv"
	"sync"
	"syscall"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/marshal/primitive"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/pkg/sentry/ktime"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
	"gvisor.dev/gvisor/pkg/usermem"

	"kiln/kernel/fs"
	"kiln/kernel/fs/block"
)

// blockMajor is the major number of disks, one that Linux gives out by itself.
// A disk has minors numbers, the first for the whole of it, the others for its
// partitions.
const (
	blockMajor = 254
	minors     = 16
)

// Device is a disk or a partition: what a file system is mounted from, and a device file of
// its own, /dev/vda and so on. The device file goes through the page cache, as
// the only file of a file system that is nowhere mounted.
type Device struct {
	dev   block.Device
	index int
	part  int // number of the partition, 0 for the whole disk
	cache *Cache

	mu      sync.Mutex
	claimed bool        // guarded by mu: mounted
	raw     *Filesystem // guarded by mu: nil until the device file is first opened
	writers int         // guarded by mu: descriptions that may write
}

var _ vfs.Device = (*Device)(nil)

// NewDevice returns the machine's disk number index.
func NewDevice(dev block.Device, index int, c *Cache) *Device {
	return &Device{dev: dev, index: index, cache: c}
}

// NewPartition returns partition number part of the machine's disk number index.
// It reports false for a number that no device file can have.
func NewPartition(dev block.Device, index, part int, c *Cache) (*Device, bool) {
	return &Device{dev: dev, index: index, part: part, cache: c}, part < minors
}

// Name returns vda, …, vdz, vdaa, with the number of a partition behind it.
func (d *Device) Name() string {
	name := ""
	for i := d.index; i >= 0; i = i/26 - 1 {
		name = string(rune('a'+i%26)) + name
	}
	if d.part > 0 {
		name += strconv.Itoa(d.part)
	}
	return "vd" + name
}

// Block returns the device for a file system.
func (d *Device) Block() block.Device { return d.dev }

// Register makes the device known to v, with a file in /dev.
func (d *Device) Register(v *vfs.VirtualFilesystem) error {
	return v.RegisterDevice(vfs.BlockDevice, blockMajor, uint32(d.index*minors+d.part), d, &vfs.RegisterDeviceOptions{
		GroupName: "virtblk", Pathname: d.Name(), FilePerms: 0660,
	})
}

// Claim takes the device for a file system. As long as it has it, nobody writes
// to the device file. It fails with EBUSY.
func (d *Device) Claim() (release func(), err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.claimed || d.writers > 0 {
		return nil, syscall.EBUSY
	}
	d.claimed = true
	if d.raw != nil {
		// What was written there is to be seen here, and what changes now
		// is not to be seen there as it was.
		n := d.raw.root.node
		if err := n.sync(true); err != nil {
			return nil, err
		}
		n.content.withdraw(0, allFile)
		n.content.mu.Unlock()
	}
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.claimed = false
	}, nil
}

// Open implements vfs.Device.
func (d *Device) Open(ctx context.Context, mnt *vfs.Mount, vd *vfs.Dentry, opts vfs.OpenOptions) (*vfs.FileDescription, error) {
	write := vfs.MayWriteFileWithOpenFlags(opts.Flags)
	if write && d.dev.ReadOnly() {
		return nil, linuxerr.EROFS
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.claimed && (write || opts.Flags&linux.O_EXCL != 0) {
		return nil, linuxerr.EBUSY
	}
	if d.raw == nil {
		d.raw = newRaw(ctx, d)
	}
	n := d.raw.root.node
	if d.claimed {
		n.content.forgetUnmapped()
	}
	fd := &deviceFD{device: d, write: write, regularFD: regularFD{node: n}}
	fd.LockFD.Init(&n.locks)
	err := fd.vfsfd.Init(fd, opts.Flags, auth.CredentialsFromContext(ctx), mnt, vd, &vfs.FileDescriptionOptions{
		AllowDirectIO: true, UseDentryMetadata: true, SpecialFile: true,
	})
	if err != nil {
		return nil, err
	}
	if write {
		d.writers++
	}
	return &fd.vfsfd, nil
}

// newRaw returns the file system that is nowhere mounted.
func newRaw(ctx context.Context, d *Device) *Filesystem {
	f := &Filesystem{
		fs: rawFS{d.dev}, cache: d.cache, clock: ktime.RealtimeClockFromContext(ctx),
		source: d.Name(), nodes: make(map[fs.Inode]*node), reporter: reporter{source: d.Name()},
	}
	f.settled.L = &f.nodesMu
	i := &rawInode{dev: d.dev}
	n := &node{d: f, inode: i, kind: linux.S_IFBLK, refs: 1, users: 1}
	n.content = newContent(n, uint64(d.dev.Size()))
	f.nodes[i] = n
	f.root = &dentry{d: f, node: n}
	d.cache.add(f)
	return f
}

// deviceFD is the description of an open device file.
type deviceFD struct {
	regularFD
	device *Device
	write  bool
}

var _ vfs.FileDescriptionImpl = (*deviceFD)(nil)

// Release implements vfs.FileDescriptionImpl.
func (fd *deviceFD) Release(context.Context) {
	if !fd.write {
		return
	}
	d := fd.device
	if !fd.node.isClosed() {
		if err := fd.node.content.writeBack(); err != nil {
			d.raw.reporter.report("write back", err)
		}
	}
	d.mu.Lock()
	d.writers--
	d.mu.Unlock()
}

// Allocate implements vfs.FileDescriptionImpl.
func (fd *deviceFD) Allocate(ctx context.Context, mode, offset, length uint64) error {
	return linuxerr.EOPNOTSUPP
}

// PWrite implements vfs.FileDescriptionImpl.
func (fd *deviceFD) PWrite(ctx context.Context, src usermem.IOSequence, offset int64, opts vfs.WriteOptions) (int64, error) {
	src, err := fd.cut(src, offset)
	if err != nil {
		return 0, err
	}
	return fd.regularFD.PWrite(ctx, src, offset, opts)
}

// Write implements vfs.FileDescriptionImpl.
func (fd *deviceFD) Write(ctx context.Context, src usermem.IOSequence, opts vfs.WriteOptions) (int64, error) {
	fd.mu.Lock()
	off := fd.off
	fd.mu.Unlock()
	src, err := fd.cut(src, off)
	if err != nil {
		return 0, err
	}
	return fd.regularFD.Write(ctx, src, opts)
}

// cut shortens a write to what fits on the device.
func (fd *deviceFD) cut(src usermem.IOSequence, off int64) (usermem.IOSequence, error) {
	rest := fd.device.dev.Size() - off
	if rest <= 0 && src.NumBytes() > 0 {
		return src, linuxerr.ENOSPC
	}
	return src.TakeFirst64(max(rest, 0)), nil
}

// Requests of ioctl(2), linux/fs.h.
const (
	blkROGet      = 0x125e
	blkGetSize    = 0x1260 // units of 512 bytes, an unsigned long
	blkFlush      = 0x1261
	blkSectorSize = 0x1268
	blkBlockSize  = 0x80081270
	blkGetSize64  = 0x80081272
	blkPhysical   = 0x127b
)

// Ioctl implements vfs.FileDescriptionImpl.
func (fd *deviceFD) Ioctl(ctx context.Context, uio usermem.IO, sysno uintptr, args arch.SyscallArguments) (uintptr, error) {
	dev, to := fd.device.dev, args[2].Pointer()
	number := func(v int32) (uintptr, error) {
		_, err := primitive.CopyInt32Out(&ioCopier{ctx, uio}, to, v)
		return 0, err
	}
	long := func(v uint64) (uintptr, error) {
		_, err := primitive.CopyUint64Out(&ioCopier{ctx, uio}, to, v)
		return 0, err
	}
	switch args[1].Uint() {
	case blkROGet:
		if dev.ReadOnly() {
			return number(1)
		}
		return number(0)
	case blkSectorSize, blkPhysical:
		return number(int32(dev.SectorSize()))
	case blkBlockSize:
		return number(pageSize)
	case blkGetSize:
		return long(uint64(dev.Size()) / 512)
	case blkGetSize64:
		return long(uint64(dev.Size()))
	case blkFlush:
		return 0, fd.node.sync(true)
	}
	return 0, linuxerr.ENOTTY
}

// ioCopier is a marshal.CopyContext over a program's memory.
type ioCopier struct {
	ctx context.Context
	uio usermem.IO
}

// CopyScratchBuffer implements marshal.CopyContext.
func (c *ioCopier) CopyScratchBuffer(size int) []byte { return make([]byte, size) }

// CopyOutBytes implements marshal.CopyContext.
func (c *ioCopier) CopyOutBytes(addr hostarch.Addr, b []byte) (int, error) {
	return c.uio.CopyOut(c.ctx, addr, b, usermem.IOOpts{})
}

// CopyInBytes implements marshal.CopyContext.
func (c *ioCopier) CopyInBytes(addr hostarch.Addr, b []byte) (int, error) {
	return c.uio.CopyIn(c.ctx, addr, b, usermem.IOOpts{})
}

// rawFS is a disk as a file system of one file.
type rawFS struct{ dev block.Device }

func (r rawFS) Type() string               { return "raw" }
func (r rawFS) ReadOnly() bool             { return r.dev.ReadOnly() }
func (r rawFS) Remote() bool               { return false }
func (r rawFS) Root() (fs.Inode, error)    { return &rawInode{dev: r.dev}, nil }
func (r rawFS) Statfs() (fs.Statfs, error) { return fs.Statfs{}, syscall.ENOSYS }
func (r rawFS) Sync() error                { return r.dev.Flush() }
func (r rawFS) Unmount() error             { return r.dev.Flush() }

// rawInode is that file. The cache reads and writes whole pages, but at the end
// of the device, which is a whole sector.
type rawInode struct {
	fs.Inode // of what a file in a directory has, nothing
	dev      block.Device
}

func (i *rawInode) Ino() uint64 { return 1 }
func (i *rawInode) IncRef()     {}
func (i *rawInode) DecRef()     {}

// Attr implements fs.Inode.
func (i *rawInode) Attr() (fs.Attr, error) {
	return fs.Attr{Ino: 1, Mode: linux.S_IFBLK, Nlink: 1, Size: uint64(i.dev.Size())}, nil
}

// SetAttr implements fs.Inode: the device file's attributes are /dev's.
func (i *rawInode) SetAttr(fs.SetAttr) error { return nil }

// ReadAt implements fs.Inode.
func (i *rawInode) ReadAt(p []byte, off int64) (int, error) {
	n := int(min(int64(len(p)), i.dev.Size()-off))
	if n <= 0 {
		return 0, io.EOF
	}
	if err := i.dev.ReadAt(p[:n], off); err != nil {
		return 0, err
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt implements fs.Inode.
func (i *rawInode) WriteAt(p []byte, off int64) (int, error) {
	if err := i.dev.WriteAt(p, off); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Reserve implements fs.Inode.
func (i *rawInode) Reserve(off, length int64) error {
	if off+length > i.dev.Size() {
		return fmt.Errorf("beyond the end of the device: %w", syscall.ENOSPC)
	}
	return nil
}

// Truncate implements fs.Inode.
func (i *rawInode) Truncate(int64) error { return syscall.EINVAL }

// SeekData implements fs.Inode: there are no holes.
func (i *rawInode) SeekData(off int64) (int64, error) { return off, nil }

// SeekHole implements fs.Inode.
func (i *rawInode) SeekHole(int64) (int64, error) { return i.dev.Size(), nil }

// Sync implements fs.Inode.
func (i *rawInode) Sync(bool) error { return i.dev.Flush() }
