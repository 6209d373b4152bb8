package image

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"kiln/image/bootinfo"
)

// MarshalHeader returns the boot header's bytes in the image.
func MarshalHeader(h *bootinfo.Header) []byte {
	var b bytes.Buffer
	// A structure of fixed-size integers into memory cannot fail.
	if err := binary.Write(&b, binary.LittleEndian, h); err != nil {
		panic(fmt.Sprintf("image: boot header of %d bytes: %v", bootinfo.HeaderSize, err))
	}
	return b.Bytes()
}

// unmarshalHeader reads the boot header from b, which lies at off in the file.
func unmarshalHeader(b []byte, off int64) (h bootinfo.Header, err error) {
	if len(b) < int(bootinfo.HeaderSize) {
		return h, &FormatError{off, "boot header past end of segment", len(b)}
	}
	if err := binary.Read(bytes.NewReader(b), binary.LittleEndian, &h); err != nil {
		return h, &FormatError{off, "boot header", err}
	}
	switch {
	case h.Magic != bootinfo.Magic:
		return h, &FormatError{off, "no Kiln boot header", h.Magic}
	case h.Version != bootinfo.Version:
		return h, &FormatError{off + 8, "boot header of another version", h.Version}
	case h.Size != bootinfo.HeaderSize:
		return h, &FormatError{off + 12, "boot header of wrong size", h.Size}
	case h.SegmentCount > bootinfo.MaxSegments:
		return h, &FormatError{off, "too many kernel segments", h.SegmentCount}
	}
	return h, nil
}

// A namedRange is a physical range that the boot header names.
type namedRange struct {
	name string
	bootinfo.Range
}

// headerRanges returns what must lie in the image.
func headerRanges(h *bootinfo.Header) []namedRange {
	out := []namedRange{
		{"boot page tables", h.BootTables},
		{"metal's text", h.MetalText},
		{"metal's read-only data", h.MetalROData},
		{"metal's data", h.MetalData},
		{"the kernel's arguments", h.KernelArgs},
		{"the kernel's environment", h.KernelEnv},
		{"the manifest", h.Manifest},
		{"the root file system", h.RootFS},
	}
	for i, s := range h.Segments[:h.SegmentCount] {
		out = append(out, namedRange{fmt.Sprintf("kernel segment %d", i), bootinfo.Range{Addr: s.Phys, Size: s.FileSize}})
	}
	return out
}

// checkKernel checks what the boot header, at off in the file, says of the
// kernel program.
func checkKernel(h *bootinfo.Header, off int64) error {
	entry := false
	for i, s := range h.Segments[:h.SegmentCount] {
		bad := func(what string, v uint64) error {
			return &FormatError{off, fmt.Sprintf("boot header: kernel segment %d: %s", i, what), v}
		}
		switch {
		case s.Virt%PageSize != 0 || s.Phys%PageSize != 0:
			return bad("not on a page boundary, address", s.Virt|s.Phys)
		case s.Virt < bootinfo.KernelBase || s.Virt > bootinfo.KernelLimit || s.MemSize > bootinfo.KernelLimit-s.Virt:
			return bad("outside of the kernel's addresses", s.Virt)
		case s.FileSize > (s.MemSize+PageSize-1)/PageSize*PageSize:
			return bad("more is stored than has room in memory, bytes", s.FileSize)
		}
		if s.Flags&bootinfo.SegmentExec != 0 && h.KernelEntry >= s.Virt && h.KernelEntry-s.Virt < s.MemSize {
			entry = true
		}
	}
	if !entry {
		return &FormatError{off, "boot header: the kernel's entry is not in its code, address", h.KernelEntry}
	}
	return nil
}
