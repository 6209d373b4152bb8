package procfs

import (
	"bytes"
	"fmt"
	"reflect"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/kernfs"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
)

// The Sentry's /proc/PID/status says nothing of signals and of the umask
// (proc(5); fs/proc/array.c of Linux 6.1). The Sentry makes a process's directory
// anew for each look-up, so directories whose entries are processes or threads are
// wrapped, and each status file that comes out of them gets the missing lines.

// tasks is a directory of processes or threads.
type tasks struct{ kernfs.Inode }

// Lookup implements kernfs.Inode.
func (d tasks) Lookup(ctx context.Context, name string) (kernfs.Inode, error) {
	i, err := d.Inode.Lookup(ctx, name)
	if err != nil {
		return nil, err
	}
	owned, ok := i.(kernel.TaskOwnedInode)
	if !ok {
		return i, nil
	}
	t := owned.TaskFromProcPIDInode()
	if t == nil {
		return i, nil
	}
	wrapChild(ctx, i, "status", func(inner kernfs.Inode) kernfs.Inode { return status{inner, t} })
	wrapChild(ctx, i, "task", func(inner kernfs.Inode) kernfs.Inode { return tasks{inner} })
	return i, nil
}

// wrapTasks makes the root of a new procfs one that wraps. Nobody has looked anything
// up yet: the dentry is initialised again, with the reference to the inode that it has.
func wrapTasks(fs *vfs.Filesystem, root *kernfs.Dentry) {
	nodes := reflect.ValueOf(fs.Impl()).Elem().FieldByName("Filesystem").Addr().Interface().(*kernfs.Filesystem)
	root.InitRoot(nodes, tasks{root.Inode()})
}

// wrapChild replaces what is behind a task's file, if the directory has it.
func wrapChild(ctx context.Context, dir kernfs.Inode, name string, wrap func(kernfs.Inode) kernfs.Inode) {
	c, err := dir.Lookup(ctx, name)
	if err != nil {
		return // the task has ended, or a thread's directory has none
	}
	defer c.DecRef(ctx)
	// A task's file is an owner around the file proper.
	inner := reflect.ValueOf(c).Elem().FieldByName("Inode")
	inner.Set(reflect.ValueOf(wrap(inner.Interface().(kernfs.Inode))))
}

// status is a task's status file.
type status struct {
	kernfs.Inode
	task *kernel.Task
}

// Open implements kernfs.Inode.
func (s status) Open(ctx context.Context, rp *vfs.ResolvingPath, d *kernfs.Dentry, opts vfs.OpenOptions) (*vfs.FileDescription, error) {
	fd, err := s.Inode.Open(ctx, rp, d, opts)
	if err != nil {
		return nil, err
	}
	impl := fd.Impl()
	dynamic := reflect.ValueOf(impl).Elem().FieldByName("DynamicBytesFileDescriptionImpl").Addr().Interface().(*vfs.DynamicBytesFileDescriptionImpl)
	dynamic.Init(fd, statusSource{impl.(vfs.DynamicBytesSource), s.task})
	return fd, nil
}

// statusSource adds lines to what the Sentry says. It implements vfs.DynamicBytesSource.
type statusSource struct {
	vfs.DynamicBytesSource
	task *kernel.Task
}

// Generate implements vfs.DynamicBytesSource.
func (s statusSource) Generate(ctx context.Context, buf *bytes.Buffer) error {
	var text bytes.Buffer
	if err := s.DynamicBytesSource.Generate(ctx, &text); err != nil {
		return err
	}
	for line := range bytes.Lines(text.Bytes()) {
		buf.Write(line)
		switch {
		case bytes.HasPrefix(line, []byte("Name:")):
			if fs := s.task.FSContext(); fs != nil { // none once the task has ended
				fmt.Fprintf(buf, "Umask:\t%04o\n", fs.Umask())
			}
		case bytes.HasPrefix(line, []byte("Threads:")):
			s.signals(buf)
		}
	}
	return nil
}

// signals writes which signals wait, are blocked, ignored and caught.
func (s statusSource) signals(buf *bytes.Buffer) {
	var ignored, caught linux.SignalSet
	for sig := linux.Signal(1); sig <= linux.SignalMaximum; sig++ {
		action, err := s.task.ThreadGroup().SetSigAction(sig, nil) // only asks
		switch {
		case err != nil || action.Handler == linux.SIG_DFL:
		case action.Handler == linux.SIG_IGN:
			ignored |= linux.SignalSetOf(sig)
		default:
			caught |= linux.SignalSetOf(sig)
		}
	}
	fmt.Fprintf(buf, "SigPnd:\t%016x\nShdPnd:\t%016x\nSigBlk:\t%016x\nSigIgn:\t%016x\nSigCgt:\t%016x\n",
		pending(s.task), pending(s.task.ThreadGroup()), uint64(s.task.SignalMask()), uint64(ignored), uint64(caught))
}

// pending returns which signals wait for a *kernel.Task or a *kernel.ThreadGroup
// itself, as of before or after a change.
func pending(of any) uint64 {
	return reflect.ValueOf(of).Elem().FieldByName("pendingSignals").FieldByName("pendingSet").FieldByName("value").Uint()
}
