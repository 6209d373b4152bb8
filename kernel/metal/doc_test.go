package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"kiln/image/bootinfo"
)

// TestAddressPages compares the maps of the address space in the documents
// with the code.
func TestAddressPages(t *testing.T) {
	for _, page := range []string{"memory.md", "architecture.md"} {
		b, err := os.ReadFile("../../docs/" + page)
		if err != nil {
			t.Fatal(err)
		}
		for name, addr := range map[string]uint64{
			"direct map": directMapBase, "mmap": mmapBase, "memory files": memfdBase, "device registers": mmioBase,
			"stacks": stackBase, "metal": bootinfo.MetalBase, "kernel program": bootinfo.KernelBase,
		} {
			line := fmt.Sprintf("\n0x%08x_%08x  %s", addr>>32, addr&0xffffffff, name)
			if !strings.Contains(string(b), line) {
				t.Errorf("%s has no line %q", page, line[1:])
			}
		}
	}
}
