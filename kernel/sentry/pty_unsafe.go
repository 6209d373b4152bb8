package sentry

import (
	"fmt"
	"reflect"
	"unsafe"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/devpts"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
	"gvisor.dev/gvisor/pkg/sync"
)

// pty is what the kernel needs of a pseudoterminal beside its descriptors.
//
// devpts offers it only through ioctls, which read their arguments from the
// memory of a calling task, and the kernel is none. So the fields are found
// by name in gVisor's structures: masterFileDescription.t, Terminal.n,
// Terminal.ld, Terminal.replicaKTTY, lineDiscipline.size and .sizeMu. ptyOf fails if one is
// missing or of another type, and TestPty fails with it.
type pty struct {
	number uint32      // of its file in /dev/pts
	tty    *kernel.TTY // the replica's
	sizeMu *sync.Mutex // guards size
	size   *linux.Winsize
}

// ptyOf returns the pseudoterminal of which master is the master end.
func ptyOf(master *vfs.FileDescription) (*pty, error) {
	terminal, err := field[*devpts.Terminal](reflect.ValueOf(master.Impl()), "t")
	if err != nil {
		return nil, err
	}
	v := reflect.ValueOf(*terminal)
	tty, err := field[*kernel.TTY](v, "replicaKTTY")
	if err != nil {
		return nil, err
	}
	number, err := field[uint32](v, "n")
	if err != nil {
		return nil, err
	}
	discipline := v.Elem().FieldByName("ld")
	if !discipline.IsValid() {
		return nil, fmt.Errorf("gVisor's %s has no field ld", v.Type())
	}
	p := &pty{number: *number, tty: *tty}
	if p.sizeMu, err = field[sync.Mutex](discipline, "sizeMu"); err != nil {
		return nil, err
	}
	if p.size, err = field[linux.Winsize](discipline, "size"); err != nil {
		return nil, err
	}
	return p, nil
}

// field returns a pointer to the field called name, of type T, of the
// structure that v points to.
func field[T any](v reflect.Value, name string) (*T, error) {
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("gVisor's %s is no pointer to a structure", v.Type())
	}
	f := v.Elem().FieldByName(name)
	if !f.IsValid() || f.Type() != reflect.TypeFor[T]() {
		return nil, fmt.Errorf("gVisor's %s has no field %s of type %s", v.Type(), name, reflect.TypeFor[T]())
	}
	return (*T)(unsafe.Pointer(f.UnsafeAddr())), nil
}

// setSize sets the window size and reports whether it was another.
func (p *pty) setSize(rows, cols uint16) bool {
	p.sizeMu.Lock()
	defer p.sizeMu.Unlock()
	size := linux.Winsize{Row: rows, Col: cols}
	changed := *p.size != size
	*p.size = size
	return changed
}
