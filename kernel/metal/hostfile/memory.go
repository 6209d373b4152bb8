package hostfile

import "kiln/kernel/metal/linux"

// Memfd is memfd_create(2).
func (t *Table) Memfd() int64 {
	for i := range t.memory {
		if t.memory[i] != nil {
			continue
		}
		f, fd := t.New(Memory)
		if f == nil {
			return -linux.EMFILE
		}
		f.Data = t.windows + uintptr(i)*Window
		t.memory[i] = f
		return int64(fd)
	}
	return -linux.EMFILE
}

// Covers reports whether addr, which is in one of the windows, is inside a
// memory file.
func (t *Table) Covers(addr uintptr) bool {
	f := t.memory[(addr-t.windows)/Window%MaxMemory]
	return f != nil && addr < f.Data+f.Size
}
