package sentry

import (
	"errors"
	"fmt"
	"io"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/tmpfs"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
	"gvisor.dev/gvisor/pkg/usermem"
	"gvisor.dev/gvisor/pkg/waiter"

	"kiln/kernel/uplink"
)

// outputNames are the nodes of the output devices, by descriptor. They lie in a
// file system of their own that no path leads to, but /proc/self/fd/1 does.
var outputNames = [3]string{1: "stdout", 2: "stderr"}

// openOutput returns descriptor fd, 1 or 2, as a character device whose data
// goes to the host.
func (s *Sentry) openOutput(fd int) (*vfs.FileDescription, error) {
	o := s.config.Link.Stdout
	if fd == 2 {
		o = s.config.Link.Stderr
	}
	if err := s.makeOutputs(); err != nil {
		return nil, err
	}
	d := &outputDevice{output: o}
	o.OnRoom(func() { d.queue.Notify(waiter.WritableEvents) })
	v := s.kernel.VFS()
	if err := v.RegisterDevice(vfs.CharDevice, s.outputs.major, uint32(fd), d, &vfs.RegisterDeviceOptions{GroupName: "console"}); err != nil {
		return nil, err
	}
	p := "/" + outputNames[fd]
	m := s.outputs.mounter
	// As a terminal's, it is the user's who is there, and others may write.
	node := m.at(p)
	node.FollowFinalSymlink = false
	err := v.MknodAt(m.ctx, m.creds, node, &vfs.MknodOptions{
		Mode: linux.S_IFCHR | 0o622, DevMajor: s.outputs.major, DevMinor: uint32(fd),
	})
	if err == nil {
		err = v.SetStatAt(m.ctx, m.creds, m.at(p), &vfs.SetStatOptions{Stat: linux.Statx{
			Mask: linux.STATX_UID | linux.STATX_GID, UID: uint32(s.creds.EffectiveKUID), GID: uint32(s.creds.EffectiveKGID),
		}})
	}
	if err != nil {
		return nil, fmt.Errorf("make %s: %w", p, err)
	}
	return v.OpenAt(m.ctx, m.creds, m.at(p), &vfs.OpenOptions{Flags: linux.O_WRONLY | linux.O_NOCTTY})
}

// outputs is where the output devices are.
type outputs struct {
	major   uint32
	mounter *mounter
}

// makeOutputs makes s.outputs if it was not made.
func (s *Sentry) makeOutputs() error {
	if s.outputs != nil {
		return nil
	}
	v := s.kernel.VFS()
	major, err := v.GetDynamicCharDevMajor()
	if err != nil {
		return fmt.Errorf("device number of the console: %w", err)
	}
	m := &mounter{ctx: s.kernel.SupervisorContext(), vfs: v, creds: auth.NewRootCredentials(s.creds.UserNamespace)}
	mount, err := v.MountDisconnected(m.ctx, m.creds, "console", tmpfs.Name, &vfs.MountOptions{
		GetFilesystemOptions: vfs.GetFilesystemOptions{InternalMount: true},
	})
	if err != nil {
		return fmt.Errorf("mount the console: %w", err)
	}
	s.outputs = &outputs{major, m.in(vfs.MakeVirtualDentry(mount, mount.Root()))}
	return nil
}

// outputDevice is standard output or error.
type outputDevice struct {
	output *uplink.Output
	queue  waiter.Queue // told of EventOut
}

// Open implements vfs.Device.
func (d *outputDevice) Open(ctx context.Context, mnt *vfs.Mount, dentry *vfs.Dentry, opts vfs.OpenOptions) (*vfs.FileDescription, error) {
	f := &outputFile{device: d}
	err := f.file.Init(f, opts.Flags, auth.CredentialsFromContext(ctx), mnt, dentry, &vfs.FileDescriptionOptions{UseDentryMetadata: true, SpecialFile: true})
	if err != nil {
		return nil, err
	}
	return &f.file, nil
}

// outputFile is an open outputDevice.
type outputFile struct {
	file vfs.FileDescription
	vfs.FileDescriptionDefaultImpl
	vfs.DentryMetadataFileDescriptionImpl
	vfs.NoLockFD
	device *outputDevice
}

// Release implements vfs.FileDescriptionImpl.
func (f *outputFile) Release(context.Context) {}

// Read implements vfs.FileDescriptionImpl: nothing ever comes.
func (f *outputFile) Read(context.Context, usermem.IOSequence, vfs.ReadOptions) (int64, error) {
	return 0, io.EOF
}

// Write implements vfs.FileDescriptionImpl. As far as there is room, what was
// written is the host's when it returns.
func (f *outputFile) Write(ctx context.Context, src usermem.IOSequence, _ vfs.WriteOptions) (int64, error) {
	written := int64(0)
	for src.NumBytes() > 0 {
		n, err := f.device.output.Send(int(min(src.NumBytes(), 1<<20)), func(b []byte) (int, error) { return src.CopyIn(ctx, b) })
		written += int64(n)
		src = src.DropFirst(n)
		switch {
		case errors.Is(err, uplink.ErrFull):
			return written, linuxerr.ErrWouldBlock
		case errors.Is(err, uplink.ErrLost):
			return written, linuxerr.EIO
		case err != nil:
			return written, err
		}
	}
	return written, nil
}

// PRead implements vfs.FileDescriptionImpl.
func (f *outputFile) PRead(context.Context, usermem.IOSequence, int64, vfs.ReadOptions) (int64, error) {
	return 0, linuxerr.ESPIPE
}

// PWrite implements vfs.FileDescriptionImpl.
func (f *outputFile) PWrite(context.Context, usermem.IOSequence, int64, vfs.WriteOptions) (int64, error) {
	return 0, linuxerr.ESPIPE
}

// Readiness implements waiter.Waitable.
func (f *outputFile) Readiness(mask waiter.EventMask) waiter.EventMask {
	ready := waiter.EventMask(waiter.ReadableEvents) // the end of input can be read
	if mask&waiter.WritableEvents != 0 && f.device.output.Room() {
		ready |= waiter.WritableEvents
	}
	return ready & mask
}

// EventRegister implements waiter.Waitable.
func (f *outputFile) EventRegister(e *waiter.Entry) error {
	f.device.queue.EventRegister(e)
	return nil
}

// EventUnregister implements waiter.Waitable.
func (f *outputFile) EventUnregister(e *waiter.Entry) { f.device.queue.EventUnregister(e) }

// Epollable implements vfs.FileDescriptionImpl.
func (f *outputFile) Epollable() bool { return true }
