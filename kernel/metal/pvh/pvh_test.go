package pvh

import (
	"testing"
	"unsafe"
)

func TestInfo(t *testing.T) {
	memmap := []MemoryRange{{Addr: 0, Size: 0x9fc00, Type: TypeRAM}, {Addr: 0x100000, Size: 64 << 20, Type: TypeRAM}}
	mods := []Module{{Phys: 0x3000, Size: 7}}
	cmd := []byte("hello\x00rest")
	s := &startInfo{
		magic: magic, version: 1, modules: 1,
		modlistPhys: addr(&mods[0]), cmdlinePhys: addr(&cmd[0]), rsdpPhys: 0xe0000,
		memmapPhys: addr(&memmap[0]), memmapEntries: 2,
	}
	i, ok := Open(addr(s), 0)
	if !ok {
		t.Fatal("Open = false")
	}
	if got := i.MemoryRanges(); got != 2 {
		t.Errorf("MemoryRanges = %d, want 2", got)
	}
	if got := i.MemoryRange(1); got != memmap[1] {
		t.Errorf("MemoryRange(1) = %+v", got)
	}
	if got, ok := i.Module(); !ok || got != mods[0] {
		t.Errorf("Module = %+v, %v", got, ok)
	}
	for _, tt := range []struct {
		size int
		want string
	}{{64, "hello"}, {3, "hel"}, {0, ""}} {
		buf := make([]byte, tt.size)
		if got := string(buf[:i.Cmdline(buf)]); got != tt.want {
			t.Errorf("Cmdline in %d bytes = %q, want %q", tt.size, got, tt.want)
		}
	}
	if got := i.RSDP(); got != 0xe0000 {
		t.Errorf("RSDP = %#x", got)
	}
	s.magic++
	if _, ok := Open(addr(s), 0); ok {
		t.Error("Open of a wrong magic = true")
	}
	s.magic--
	s.version = 0
	if _, ok := Open(addr(s), 0); ok {
		t.Error("Open of version 0, which has no memory map, = true")
	}
}

func addr[T any](p *T) uint64 { return uint64(uintptr(unsafe.Pointer(p))) }
