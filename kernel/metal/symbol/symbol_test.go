package symbol

import (
	"debug/elf"
	"debug/gosym"
	"os"
	"strings"
	"testing"

	"golang.org/x/arch/x86/x86asm"
)

// load returns the test program's own function table and text address.
func load(t *testing.T) (table []byte, text uint64) {
	t.Helper()
	f, err := elf.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	table, err = f.Section(".gopclntab").Data()
	if err != nil {
		t.Fatal(err)
	}
	return table, f.Section(".text").Addr // runtime.text, without cgo
}

func TestFind(t *testing.T) {
	table, text := load(t)
	lines := gosym.NewLineTable(table, text)
	tab, err := gosym.NewTable(nil, lines)
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, fn := range tab.Funcs {
		if fn.End <= fn.Entry {
			continue
		}
		for _, pc := range []uint64{fn.Entry, fn.Entry + (fn.End-fn.Entry)/2, fn.End - 1} {
			name, off := Find(table, text, pc)
			if string(name) != fn.Name || off != pc-fn.Entry {
				t.Fatalf("Find(%#x) = %q+%#x, want %q+%#x", pc, name, off, fn.Name, pc-fn.Entry)
			}
			checked++
		}
	}
	if checked < 1000 {
		t.Errorf("only %d addresses checked", checked)
	}
	for _, pc := range []uint64{0, text - 1, 1 << 60} {
		if name, _ := Find(table, text, pc); name != nil {
			t.Errorf("Find(%#x) = %q, want nothing", pc, name)
		}
	}
}

// TestFrameSize follows the stack pointer through the instructions of compiled
// functions: nothing lies above the return address at a function's entry and
// at its returns, and PUSH adds 8 bytes.
func TestFrameSize(t *testing.T) {
	table, text := load(t)
	f, err := elf.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	code, err := f.Section(".text").Data()
	if err != nil {
		t.Fatal(err)
	}
	tab, err := gosym.NewTable(nil, gosym.NewLineTable(table, text))
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, fn := range tab.Funcs {
		if !strings.HasPrefix(fn.Name, "fmt.") && !strings.HasPrefix(fn.Name, "strconv.") {
			continue // compiled from Go, and no assembly that plays with its stack
		}
		want := func(pc, size uint64) {
			if got, ok := FrameSize(table, text, pc); !ok || got != size {
				t.Fatalf("FrameSize(%s+%#x) = %d, %v, want %d", fn.Name, pc-fn.Entry, got, ok, size)
			}
			checked++
		}
		want(fn.Entry, 0)
		for pc := fn.Entry; pc < fn.End; {
			inst, err := x86asm.Decode(code[pc-text:], 64)
			if err != nil {
				break // padding between functions
			}
			next := pc + uint64(inst.Len)
			switch inst.Op {
			case x86asm.RET:
				want(pc, 0)
			case x86asm.PUSH:
				before, ok := FrameSize(table, text, pc)
				if ok && next < fn.End {
					want(next, before+8)
				}
			}
			pc = next
		}
	}
	if checked < 200 {
		t.Errorf("only %d addresses checked", checked)
	}
}

func FuzzFind(f *testing.F) {
	f.Add([]byte{0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8}, uint64(0x1000))
	f.Fuzz(func(t *testing.T, table []byte, pc uint64) {
		Find(table, 0x1000, pc)
		FrameSize(table, 0x1000, pc)
		if len(table) > 8 {
			copy(table, []byte{0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8})
			Find(table, 0x1000, pc)
			FrameSize(table, 0x1000, pc)
		}
	})
}
