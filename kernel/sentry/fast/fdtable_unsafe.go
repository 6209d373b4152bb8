package fast

import (
	"fmt"
	"reflect"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sync"

	"kiln/kernel/sentry/linux"
)

// gVisor makes the bitmap of a descriptor table for 65,535 descriptors, and goes
// over all of it, from the end, whenever a descriptor is made, a table is copied or
// given up: 6,300 instructions of the 16,600 that an open and a close took. The
// bitmap works as well when it ends behind the last descriptor: it grows when one
// beyond its end is added.

// freshWords is how many words the bitmap of a new table has, and keepWords how many
// are left to one at least.
const (
	freshWords = (1<<16 - 1 + 63) / 64
	keepWords  = 4
)

// tableFields are where gVisor's descriptor tables have what Trim needs.
type tableFields struct{ mutexAt, wordsAt uintptr }

// table is found when the program starts.
var table = findTableFields()

// findTableFields looks the fields up. It panics if gVisor has others: a kernel with
// such a gVisor does not start.
func findTableFields() tableFields {
	at := func(typ reflect.Type, names ...string) uintptr {
		at, in := uintptr(0), reflect.TypeFor[kernel.FDTable]()
		for _, name := range names {
			f, ok := in.FieldByName(name)
			if !ok {
				panic(fmt.Sprintf("fast: %v has no field %s", in, name))
			}
			at, in = at+f.Offset, f.Type
		}
		if in != typ {
			panic(fmt.Sprintf("fast: kernel.FDTable's field %v is a %v, not a %v", names, in, typ))
		}
		return at
	}
	return tableFields{
		mutexAt: at(reflect.TypeFor[sync.Mutex](), "mu", "mu"),
		wordsAt: at(reflect.TypeFor[[]uint64](), "fdBitmap", "bitBlock"),
	}
}

// words returns the bitmap of a table, whose mutex guards it.
func (f tableFields) words(t *kernel.FDTable) *[]uint64 {
	return (*[]uint64)(unsafe.Add(unsafe.Pointer(t), f.wordsAt))
}

// mutex returns the mutex of a table.
func (f tableFields) mutex(t *kernel.FDTable) *sync.Mutex {
	return (*sync.Mutex)(unsafe.Add(unsafe.Pointer(t), f.mutexAt))
}

// fresh reports whether a table has the bitmap that it was made with. It takes no
// lock: whoever changes a bitmap meanwhile leaves it long or short.
func (f tableFields) fresh(t *kernel.FDTable) bool {
	length := (*int64)(unsafe.Add(unsafe.Pointer(t), f.wordsAt+unsafe.Sizeof(uintptr(0))))
	return atomic.LoadInt64(length) >= freshWords
}

// Trim shortens the bitmap of a descriptor table to what it has. It costs a load and
// a comparison where that was done before.
func Trim(t *kernel.FDTable) {
	if table.fresh(t) {
		table.trim(t)
	}
}

// trim is Trim for a long bitmap. The array stays where it is, for who goes over it
// without the table's mutex.
func (f tableFields) trim(t *kernel.FDTable) {
	mu := f.mutex(t)
	mu.Lock()
	defer mu.Unlock()
	words := f.words(t)
	n := len(*words)
	for n > keepWords && (*words)[n-1] == 0 {
		n--
	}
	*words = (*words)[:n]
}

// copies are the calls that make a task, and with it a copy of the caller's
// descriptor table, which is trimmed.
func copies() map[uintptr]linux.Wrapper {
	return map[uintptr]linux.Wrapper{
		unix.SYS_FORK: trimCopy, unix.SYS_VFORK: trimCopy, unix.SYS_CLONE: trimCopy, unix.SYS_CLONE3: trimCopy,
	}
}

func trimCopy(next kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, nr uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		tid, ctrl, err := next(t, nr, args)
		if err != nil {
			return tid, ctrl, err
		}
		if child := t.PIDNamespace().TaskWithID(kernel.ThreadID(tid)); child != nil {
			child.WithMuLocked(func(child *kernel.Task) {
				if files := child.FDTable(); files != nil {
					Trim(files)
				}
			})
		}
		return tid, ctrl, err
	}
}
