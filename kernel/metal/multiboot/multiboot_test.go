package multiboot

import (
	"encoding/binary"
	"testing"
	"unsafe"
)

// tagBytes returns a tag with its padding.
func tagBytes(kind uint32, body []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, kind)
	b = binary.LittleEndian.AppendUint32(b, uint32(8+len(body)))
	b = append(b, body...)
	return append(b, make([]byte, (8-len(b)%8)%8)...)
}

// words returns numbers of 32 bits.
func words(v ...uint32) (b []byte) {
	for _, w := range v {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return b
}

// structure returns a boot information structure of tags, on a boundary of 8.
func structure(tags ...[]byte) []byte {
	b := make([]byte, 8)
	for _, t := range tags {
		b = append(b, t...)
	}
	b = append(b, tagBytes(tagEnd, nil)...)
	binary.LittleEndian.PutUint32(b, uint32(len(b)))
	return aligned(b)
}

// aligned copies b to where its address is a multiple of 8.
func aligned(b []byte) []byte {
	w := make([]uint64, (len(b)+7)/8+1)
	out := unsafe.Slice((*byte)(unsafe.Pointer(&w[0])), len(w)*8)
	copy(out, b)
	return out
}

func addr(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(&b[0]))) }

// memory is a memory map of two ranges, of 32 bytes each: longer than today's.
var memory = tagBytes(tagMemory, append(words(32, 0),
	words(0, 0, 0x9fc00, 0, TypeRAM, 0, 9, 9, 0x100000, 0, 0, 1, 2, 0, 9, 9)...))

func TestInfo(t *testing.T) {
	b := structure(tagBytes(tagCmdline, []byte("hello\x00")), tagBytes(99, []byte("abc")),
		tagBytes(tagModule, append(words(0x2000, 0x2007), "name\x00"...)), tagBytes(tagModule, words(0x3000, 0x3001)), memory)
	i, ok := Open(addr(b), 0)
	if !ok {
		t.Fatal("Open = false")
	}
	if got := i.MemoryRanges(); got != 2 {
		t.Fatalf("MemoryRanges = %d, want 2", got)
	}
	if got, want := i.MemoryRange(0), (MemoryRange{Addr: 0, Size: 0x9fc00, Type: TypeRAM}); got != want {
		t.Errorf("MemoryRange(0) = %+v, want %+v", got, want)
	}
	if got, want := i.MemoryRange(1), (MemoryRange{Addr: 0x100000, Size: 1 << 32, Type: 2}); got != want {
		t.Errorf("MemoryRange(1) = %+v, want %+v", got, want)
	}
	if at, size, ok := i.Module(); at != 0x2000 || size != 7 || !ok {
		t.Errorf("Module = %#x, %d, %v, want 0x2000, 7", at, size, ok)
	}
	for size, want := range map[int]string{64: "hello", 3: "hel", 0: ""} {
		buf := make([]byte, size)
		if got := string(buf[:i.Cmdline(buf)]); got != want {
			t.Errorf("Cmdline in %d bytes = %q, want %q", size, got, want)
		}
	}
	bare, ok := Open(addr(structure(memory)), 0)
	if _, _, has := bare.Module(); !ok || has || bare.Cmdline(make([]byte, 8)) != 0 {
		t.Errorf("a structure with a memory map alone: %v, module %v", ok, has)
	}
}

func TestOpenErrors(t *testing.T) {
	short := structure(memory)
	binary.LittleEndian.PutUint32(short, 4)
	long := structure(memory)
	binary.LittleEndian.PutUint32(long, 1<<31)
	endless := structure(tagBytes(99, nil), memory)
	binary.LittleEndian.PutUint32(endless[12:], 0) // a tag of no size
	beyond := structure(tagBytes(99, nil), memory)
	binary.LittleEndian.PutUint32(beyond[12:], 1<<30)
	small := structure(tagBytes(tagMemory, append(words(8, 0), words(0, 1)...)))
	for name, b := range map[string][]byte{
		"no memory map": structure(), "too short": short, "too long": long,
		"tag of no size": endless, "tag past the end": beyond, "small entries": small,
	} {
		if i, ok := Open(addr(b), 0); ok {
			t.Errorf("%s: Open = %+v, want none", name, i)
		}
	}
}

// FuzzInfo reads any bytes without leaving them: the fuzzer's checks of memory
// would notice.
func FuzzInfo(f *testing.F) {
	f.Add(structure(memory, tagBytes(tagModule, words(1, 2)), tagBytes(tagCmdline, []byte("x"))))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 8 {
			return
		}
		b = aligned(b)
		if size := binary.LittleEndian.Uint32(b); int(size) > len(b) {
			binary.LittleEndian.PutUint32(b, uint32(len(b)))
		}
		i, ok := Open(addr(b), 0)
		if !ok {
			return
		}
		for n := range i.MemoryRanges() {
			i.MemoryRange(n)
		}
		i.Module()
		buf := make([]byte, 64)
		if n := i.Cmdline(buf); n > len(buf) {
			t.Errorf("Cmdline = %d of %d bytes", n, len(buf))
		}
	})
}
