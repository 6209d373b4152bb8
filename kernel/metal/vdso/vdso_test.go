package vdso

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"testing"

	"kiln/kernel/metal/raw"
)

// page is where the tests build images: not in a function's frame, which may
// move.
var page [4096]byte

func build(clockGettime uintptr) (base uintptr, file []byte) {
	clear(page[:])
	base = raw.Addr(&page[0])
	Build(base, clockGettime)
	return base, page[:Size]
}

// TestImage has debug/elf read the image, and follows the dynamic segment to the
// symbol as the Go runtime does (runtime/vdso_linux.go).
func TestImage(t *testing.T) {
	for _, pc := range []uintptr{0xffffffff80101230, 0x1000} {
		base, file := build(pc)
		f, err := elf.NewFile(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		if f.Type != elf.ET_DYN || f.Machine != elf.EM_X86_64 || f.Class != elf.ELFCLASS64 || len(f.Progs) != 2 {
			t.Errorf("header: %+v", f.FileHeader)
		}
		load := f.Progs[0].ProgHeader
		if load.Type != elf.PT_LOAD || load.Off != 0 || load.Vaddr != 0 || load.Filesz != uint64(len(file)) {
			t.Errorf("first segment: %+v", load)
		}
		if f.Progs[1].Type != elf.PT_DYNAMIC {
			t.Fatalf("second segment: %+v", f.Progs[1])
		}
		read := func(off uint64, v any) {
			t.Helper()
			if err := binary.Read(bytes.NewReader(file[off:]), binary.LittleEndian, v); err != nil {
				t.Fatal(err)
			}
		}
		dyn := map[elf.DynTag]uint64{}
		entries := make([]elf.Dyn64, f.Progs[1].Filesz/16)
		read(f.Progs[1].Off, entries)
		if entries[len(entries)-1].Tag != 0 {
			t.Error("the dynamic segment has no end")
		}
		for _, d := range entries {
			dyn[elf.DynTag(d.Tag)] = d.Val
		}
		var verdef [4]uint16
		read(dyn[elf.DT_VERDEF], &verdef)
		if verdef[0] != 1 || verdef[1]&1 == 0 {
			t.Errorf("version definition: %v", verdef)
		}

		// DT_HASH: buckets, chains, then first indices, then next ones.
		var hash [5]uint32
		read(dyn[elf.DT_HASH], &hash)
		buckets, chains := hash[0], hash[1]
		var found []string
		for i := hash[2+sysvHash("__vdso_clock_gettime")%buckets]; i != 0; i = hash[2+buckets+i] {
			if i >= chains {
				t.Fatalf("symbol %d of %d", i, chains)
			}
			var sym elf.Sym64
			read(dyn[elf.DT_SYMTAB]+uint64(i)*dyn[elf.DT_SYMENT], &sym)
			names := file[dyn[elf.DT_STRTAB]:][:dyn[elf.DT_STRSZ]]
			name, _, _ := bytes.Cut(names[sym.Name:], []byte{0})
			found = append(found, string(name))
			if elf.ST_BIND(sym.Info) != elf.STB_GLOBAL || elf.ST_TYPE(sym.Info) != elf.STT_FUNC || sym.Shndx == 0 {
				t.Errorf("symbol %+v is no global function", sym)
			}
			if got := base + uintptr(sym.Value); got != pc {
				t.Errorf("%s is at %#x, want %#x", name, got, pc)
			}
		}
		if len(found) != 1 || found[0] != "__vdso_clock_gettime" {
			t.Errorf("symbols in the hash table: %q", found)
		}
	}
}

// sysvHash is the hash function of DT_HASH (System V ABI, chapter 5).
func sysvHash(name string) (h uint32) {
	for _, c := range []byte(name) {
		h = h<<4 + uint32(c)
		h ^= h & 0xf0000000 >> 24
		h &^= 0xf0000000
	}
	return h
}

func TestSize(t *testing.T) {
	_, file := build(0)
	if len(file) > 4096 || !bytes.Equal(page[Size:], make([]byte, 4096-Size)) {
		t.Errorf("an image of %d bytes, or something behind it", len(file))
	}
}
