package bounds

import (
	"reflect"

	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
)

// count returns what there is of each kind that a user has made. What waits in a
// socket to be received is not found.
func count(t *kernel.Task, user auth.KUID) [kinds]int64 {
	var n [kinds]int64
	groups := map[*kernel.ThreadGroup]bool{}
	files := newFiles(t)
	for _, task := range t.Kernel().RootPIDNamespace().Tasks() {
		task.WithMuLocked(func(task *kernel.Task) { files.add(task.FDTable()) })
		if task.ExitState() != kernel.TaskExitNone || task.Credentials().RealKUID != user {
			continue
		}
		n[tasks]++
		n[pendingSignals] += pending(task)
		if tg := task.ThreadGroup(); !groups[tg] {
			groups[tg] = true
			n[pendingSignals] += pending(tg) + length(tg, "timers")
		}
	}
	files.count(user, &n)
	return n
}

// files are what descriptor tables have.
type files struct {
	task   *kernel.Task
	tables map[*kernel.FDTable]bool
	open   map[*vfs.FileDescription]bool // with a reference each
}

func newFiles(t *kernel.Task) *files {
	return &files{t, map[*kernel.FDTable]bool{}, map[*vfs.FileDescription]bool{}}
}

// add adds those of a table, which may be nil, and stays for as long as its
// task's lock is held.
func (f *files) add(table *kernel.FDTable) {
	if table == nil || f.tables[table] {
		return
	}
	f.tables[table] = true
	table.ForEach(f.task, func(_ int32, file *vfs.FileDescription, _ kernel.FDFlags) bool {
		if !f.open[file] && file.TryIncRef() {
			f.open[file] = true
		}
		return true
	})
}

// count adds those that a user has made to n, and gives the references back.
func (f *files) count(user auth.KUID, n *[kinds]int64) {
	pipes := map[*vfs.Dentry]int64{} // both ends have one
	for file := range f.open {
		if maker(file) != user {
			continue
		}
		switch impl := file.Impl().(type) {
		case pipe:
			pipes[file.Dentry()] = impl.PipeSize() / pageSize
		case *vfs.Inotify:
			n[inotifyInstances]++
			n[inotifyWatches] += length(impl, "watches")
		case *vfs.EpollInstance:
			n[epollWatches] += length(impl, "interest")
		}
	}
	for _, pages := range pipes {
		n[pipePages] += pages
	}
	f.release()
}

// release gives the references back.
func (f *files) release() {
	for file := range f.open {
		file.DecRef(f.task)
	}
}

// maker returns who has made a file, which gVisor remembers for itself.
func maker(file *vfs.FileDescription) auth.KUID {
	return auth.KUID(reflect.ValueOf(file).Elem().FieldByName("creds").Elem().FieldByName("RealKUID").Uint())
}

// length returns the length of a map in a structure of gVisor's: the number of
// a process' timers, of a file's watches. gVisor does not tell it.
func length(of any, field string) int64 {
	return int64(reflect.ValueOf(of).Elem().FieldByName(field).Len())
}

// pending returns how many signals wait for a task or a process.
func pending(of any) (n int64) {
	queues := reflect.ValueOf(of).Elem().FieldByName("pendingSignals").FieldByName("signals")
	for i := range queues.Len() {
		n += queues.Index(i).FieldByName("length").Int()
	}
	return n
}
