package sentry

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"syscall"

	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/tmpfs"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/pkg/sentry/vfs"

	"kiln/image"
	"kiln/kernel/fs"
	"kiln/kernel/fs/block"
	"kiln/kernel/fs/ext4"
	"kiln/kernel/fs/partition"
	"kiln/kernel/machine"
	"kiln/kernel/notice"
	"kiln/kernel/sentry/disk"
	"kiln/kernel/virtio"
	"kiln/kernel/virtio/blk"
)

// diskFS is a file system that a block device may hold.
type diskFS struct {
	name  string
	probe func(block.Device) bool
	mount func(dev block.Device, readOnly bool, log func(string)) (fs.Filesystem, error)
}

// diskFilesystems are tried in this order. What a bake configuration may leave
// out is added by a file of its own.
var diskFilesystems = []diskFS{
	{"ext4", ext4.Probe, func(dev block.Device, readOnly bool, log func(string)) (fs.Filesystem, error) {
		return asFilesystem(ext4.Mount(dev, ext4.Options{ReadOnly: readOnly, Log: log}))
	}},
}

// asFilesystem keeps a nil pointer from becoming an interface that is not nil.
func asFilesystem[T fs.Filesystem](f T, err error) (fs.Filesystem, error) {
	if err != nil {
		return nil, err
	}
	return f, nil
}

// folderFS is the name of the file system that a folder of the host appears by.
const folderFS = "9p"

// folder is a folder of the host that the machine has.
type folder interface {
	mount(m image.Mount, log func(string)) (fs.Filesystem, error)
}

// openFolder starts a device for a folder. It is nil in a kernel that knows
// none.
var openFolder func(f virtio.Found) (tag string, dev folder, err error)

// storage is the machine's disks, the host's folders, and what is mounted of
// them.
type storage struct {
	cache   *disk.Cache
	count   int                     // of disks
	disks   []*disk.Device          // vda, vda1, …, vdb, …
	guids   map[string]*disk.Device // partitions by their GUID
	folders map[string]folder       // by mount tag
}

// findStorage starts the storage devices among those found.
func (s *Sentry) findStorage(found []virtio.Found) error {
	s.storage = &storage{
		cache: disk.NewCache(disk.Options{
			MemoryFile: s.kernel.MemoryFile(), Memory: cacheMemory, Populate: machine.Populate, Collect: debug.FreeOSMemory,
		}),
		folders: make(map[string]folder),
		guids:   make(map[string]*disk.Device),
	}
	for _, f := range found {
		var err error
		switch f.ID {
		case virtio.DeviceBlock:
			err = s.storage.openDisk(f)
		case virtio.Device9P:
			err = s.storage.openFolder(f)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.Where, err)
		}
	}
	return nil
}

func (st *storage) openDisk(f virtio.Found) error {
	t, err := f.Open()
	if err != nil {
		return err
	}
	dev, err := blk.Open(t, virtio.DMA{})
	if err != nil {
		return err
	}
	whole := disk.NewDevice(dev, st.count, st.cache)
	st.disks = append(st.disks, whole)
	parts, err := partition.Read(dev)
	if err != nil {
		// Whoever mounts one is told that there is none.
		notice.Printf("%s: %v", whole.Name(), err)
	}
	for _, p := range parts {
		d, ok := disk.NewPartition(p, st.count, p.Number, st.cache)
		if !ok {
			continue
		}
		st.disks = append(st.disks, d)
		if _, ok := st.guids[p.GUID]; !ok {
			st.guids[p.GUID] = d
		}
	}
	st.count++
	return nil
}

func (st *storage) openFolder(f virtio.Found) error {
	if openFolder == nil {
		return nil // whoever mounts it is told
	}
	tag, dev, err := openFolder(f)
	if err != nil {
		return err
	}
	st.folders[tag] = dev
	return nil
}

// register tells the VFS of disks, which it puts into /dev, and file systems.
func (st *storage) register(v *vfs.VirtualFilesystem) error {
	for _, d := range st.disks {
		if err := d.Register(v); err != nil {
			return fmt.Errorf("disk %s: %w", d.Name(), err)
		}
	}
	options := &vfs.RegisterFilesystemTypeOptions{AllowUserMount: true, AllowUserList: true, RequiresDevice: true}
	for _, f := range diskFilesystems {
		v.MustRegisterFilesystemType(f.name, &diskType{st, f}, options)
	}
	v.MustRegisterFilesystemType(folderFS, &folderType{}, &vfs.RegisterFilesystemTypeOptions{AllowUserList: true})
	return nil
}

// disk returns the disk or partition called name, with or without "/dev/", or
// the partition with the GUID behind image.PartUUID.
func (st *storage) disk(name string) (*disk.Device, bool) {
	if guid, ok := strings.CutPrefix(name, image.PartUUID); ok {
		d, ok := st.guids[strings.ToLower(guid)]
		return d, ok
	}
	for _, d := range st.disks {
		if d.Name() == strings.TrimPrefix(name, "/dev/") {
			return d, true
		}
	}
	return nil, false
}

// mountStorage mounts what the configuration asks for.
func (s *Sentry) mountStorage() error {
	for _, m := range s.config.Mounts {
		if err := s.mountOne(m); err != nil {
			s.storage.cache.Shutdown()
			return fmt.Errorf("cannot mount %s on %s: %w", mountSource(m), m.Path, err)
		}
	}
	return nil
}

// mountOne mounts one.
func (s *Sentry) mountOne(m image.Mount) error {
	if m.Type == image.MemoryFS {
		return s.mountMemory(m)
	}
	f, name, source, err := s.storage.open(m)
	if err != nil {
		return err
	}
	if err := s.mounts.mkdirAll(m.Path); err != nil {
		return errors.Join(err, f.Unmount())
	}
	_, err = s.mounts.vfs.MountAt(s.mounts.ctx, s.mounts.creds, source, s.mounts.at(m.Path), name, &vfs.MountOptions{
		ReadOnly:             m.ReadOnly || f.ReadOnly(),
		GetFilesystemOptions: vfs.GetFilesystemOptions{InternalMount: true, InternalData: &opened{f, s.storage.cache, mountSource(m)}},
	})
	return err
}

// mountMemory mounts a file system in memory.
func (s *Sentry) mountMemory(m image.Mount) error {
	if err := s.mounts.mkdirAll(m.Path); err != nil {
		return err
	}
	data := "mode=1777"
	if m.Size != "" {
		data += ",size=" + m.Size
	}
	_, err := s.mounts.vfs.MountAt(s.mounts.ctx, s.mounts.creds, m.Type, s.mounts.at(m.Path), tmpfs.Name, &vfs.MountOptions{
		ReadOnly:             m.ReadOnly,
		GetFilesystemOptions: vfs.GetFilesystemOptions{InternalMount: true, Data: data},
	})
	return err
}

// open opens the file system that m names, and returns with it the names of its
// type and of its device.
func (st *storage) open(m image.Mount) (f fs.Filesystem, name, source string, err error) {
	if m.Tag != "" {
		dev, ok := st.folders[m.Tag]
		if openFolder == nil {
			return nil, "", "", errors.New("this kernel knows no folders of the host: bake with another configuration")
		}
		if !ok {
			return nil, "", "", fmt.Errorf("the machine has no folder %q", m.Tag)
		}
		f, err = dev.mount(m, logTo(mountSource(m)))
		return f, folderFS, m.Tag, err
	}
	d, ok := st.disk(m.Device)
	if !ok {
		return nil, "", "", fmt.Errorf("the machine has no virtio disk %s", m.Device)
	}
	t, err := recognise(d, m.Type)
	if err != nil {
		return nil, "", "", err
	}
	f, err = t.open(d, m.ReadOnly, mountSource(m))
	return f, t.name, "/dev/" + d.Name(), err
}

// recognise returns the file system on d, which must be of type want if that is
// not empty.
func recognise(d *disk.Device, want string) (diskFS, error) {
	var names []string
	for _, t := range diskFilesystems {
		names = append(names, t.name)
		if (want == "" || want == t.name) && t.probe(d.Block()) {
			return t, nil
		}
	}
	if want == "" {
		want = "file system"
	}
	return diskFS{}, fmt.Errorf("there is no %s on it (known are %s)", want, strings.Join(names, ", "))
}

// open mounts the file system on d, which is then in use.
func (t diskFS) open(d *disk.Device, readOnly bool, source string) (fs.Filesystem, error) {
	release, err := d.Claim()
	if err != nil {
		return nil, fmt.Errorf("%s is mounted already: %w", d.Name(), err)
	}
	f, err := t.mount(d.Block(), readOnly || d.Block().ReadOnly(), logTo(source))
	if err != nil {
		release()
		return nil, err
	}
	return &claimed{f, release}, nil
}

// claimed is a mounted file system that lets go of its disk at the end.
type claimed struct {
	fs.Filesystem
	release func()
}

// Unmount implements fs.Filesystem.
func (c *claimed) Unmount() error {
	defer c.release()
	return c.Filesystem.Unmount()
}

// Shrink gives back memory of the file system's own, and returns how many bytes.
func (c *claimed) Shrink() int {
	if f, ok := c.Filesystem.(interface{ Shrink() int }); ok {
		return f.Shrink()
	}
	return 0
}

// logTo returns what a file system's own lines go to.
func logTo(source string) func(string) {
	return func(line string) { notice.Printf("%s: %s", source, line) }
}

// mountSource returns what the user calls m's device.
func mountSource(m image.Mount) string {
	switch {
	case m.Source != "":
		return m.Source
	case m.Device != "":
		return "/dev/" + m.Device
	case m.Tag != "":
		return m.Tag
	default:
		return m.Type
	}
}

// opened is what an internal mount passes to a filesystem type.
type opened struct {
	fs     fs.Filesystem
	cache  *disk.Cache
	source string
}

// mount makes a file system of the Sentry's of it.
func (o *opened) mount(ctx context.Context, v *vfs.VirtualFilesystem, t vfs.FilesystemType) (*vfs.Filesystem, *vfs.Dentry, error) {
	d, err := disk.New(ctx, v, t, o.fs, o.cache, o.source)
	if err != nil {
		return nil, nil, errors.Join(err, o.fs.Unmount())
	}
	f, root := d.Mountable()
	return f, root, nil
}

// diskType is a file system on disks, for mount(2). It implements
// vfs.FilesystemType.
type diskType struct {
	st *storage
	fs diskFS
}

// Name implements vfs.FilesystemType.
func (t *diskType) Name() string { return t.fs.name }

// Release implements vfs.FilesystemType.
func (t *diskType) Release(context.Context) {}

// GetFilesystem implements vfs.FilesystemType.
func (t *diskType) GetFilesystem(ctx context.Context, v *vfs.VirtualFilesystem, creds *auth.Credentials, source string, opts vfs.GetFilesystemOptions) (*vfs.Filesystem, *vfs.Dentry, error) {
	if o, ok := opts.InternalData.(*opened); ok {
		return o.mount(ctx, v, t)
	}
	d, ok := t.st.disk(source)
	if !ok {
		return nil, nil, linuxerr.ENOTBLK
	}
	if !t.fs.probe(d.Block()) {
		return nil, nil, linuxerr.EINVAL
	}
	f, err := t.fs.open(d, false, source)
	if err != nil {
		return nil, nil, mountError(source, err)
	}
	return (&opened{f, t.st.cache, source}).mount(ctx, v, t)
}

// mountError returns what mount(2) fails with. The reason, which does not fit
// into a number, becomes a notice.
func mountError(source string, err error) error {
	notice.Printf("mount %s: %v", source, err)
	switch {
	case errors.Is(err, syscall.EBUSY):
		return linuxerr.EBUSY
	case errors.Is(err, syscall.EUCLEAN):
		return linuxerr.EUCLEAN
	case errors.Is(err, syscall.EIO):
		return linuxerr.EIO
	}
	return linuxerr.EINVAL
}

// folderType is the file system of the host's folders.
type folderType struct{}

// Name implements vfs.FilesystemType.
func (*folderType) Name() string { return folderFS }

// Release implements vfs.FilesystemType.
func (*folderType) Release(context.Context) {}

// GetFilesystem implements vfs.FilesystemType.
func (t *folderType) GetFilesystem(ctx context.Context, v *vfs.VirtualFilesystem, creds *auth.Credentials, source string, opts vfs.GetFilesystemOptions) (*vfs.Filesystem, *vfs.Dentry, error) {
	o, ok := opts.InternalData.(*opened)
	if !ok {
		return nil, nil, linuxerr.EPERM
	}
	return o.mount(ctx, v, t)
}
