package image

import (
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"kiln/image/bootinfo"
)

// An Image is what an image file says of itself.
type Image struct {
	Manifest Manifest // Manifest.Files is Files
	Header   bootinfo.Header
	Entry    uint64    // physical address where a monitor starts it, in 32-bit mode
	Segments []Segment // as a monitor loads them, by address
	Files    []File    // of the root file system; nil if there is none
	Size     int64     // of the file, bytes
}

// A Segment is a part of the file that a monitor loads.
type Segment struct {
	Name  string // what it holds
	Phys  uint64
	Off   int64 // in the file
	Size  uint64
	Flags uint64 // bootinfo.SegmentExec | SegmentWrite | SegmentRead
}

// maxJSON bounds what is read into memory of manifest and file list.
const maxJSON = 64 << 20

// Open reads the image at path. An error about its content is a *FormatError.
func Open(path string) (*Image, error) {
	var img *Image
	err := withFile(path, func(r io.ReaderAt, size int64) (err error) {
		img, err = Parse(r, size)
		return err
	})
	return img, err
}

// OpenUnchecked is Open for who runs the image soon: without Files, and without
// the checksum, for which Check is then called.
func OpenUnchecked(path string) (*Image, error) {
	var img *Image
	err := withFile(path, func(r io.ReaderAt, size int64) (err error) {
		var p *parser
		if p, err = parseMost(r, size); err == nil {
			img = &p.Image
		}
		return err
	})
	return img, err
}

// Check compares the image at path with its checksum. An error about its
// content is a *FormatError.
func Check(path string) error { return withFile(path, checkTrailer) }

// withFile has do read the regular file at path, whose name is put before its
// error.
func withFile(path string, do func(r io.ReaderAt, size int64) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", path)
	}
	if err := do(f, st.Size()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// IsImage reports whether the file at path is meant to be an image: an ELF
// file with a boot header where bake puts it. It may still be damaged.
func IsImage(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	var b [PayloadOffset + bootinfo.HeaderOffset + 8]byte
	if _, err := f.ReadAt(b[:], 0); errors.Is(err, io.EOF) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	magic := binary.LittleEndian.Uint64(b[PayloadOffset+bootinfo.HeaderOffset:])
	return string(b[:4]) == elf.ELFMAG && magic == bootinfo.Magic, nil
}

// Parse reads the image of size bytes in r. An error about its content is a
// *FormatError.
func Parse(r io.ReaderAt, size int64) (*Image, error) {
	p, err := parseMost(r, size)
	if err == nil {
		err = p.files()
	}
	if err != nil {
		return nil, err
	}
	// Last: what is wrong in particular tells more.
	if err := checkTrailer(r, size); err != nil {
		return nil, err
	}
	return &p.Image, nil
}

// parseMost reads all but the list of files and the checksum.
func parseMost(r io.ReaderAt, size int64) (*parser, error) {
	f, err := elf.NewFile(io.NewSectionReader(r, 0, size))
	if err != nil {
		var elfErr *elf.FormatError
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil, &FormatError{size, "the file is cut short", nil}
		case errors.As(err, &elfErr):
			return nil, &FormatError{0, "ELF header", err}
		}
		return nil, err
	}
	if f.Class != elf.ELFCLASS64 || f.Machine != elf.EM_X86_64 || f.Type != elf.ET_EXEC {
		return nil, &FormatError{0, "no x86-64 executable", fmt.Sprint(f.Class, " ", f.Machine, " ", f.Type)}
	}
	p := &parser{Image: Image{Size: size}, f: f}
	for _, step := range []func() error{p.segments, p.note, p.header, p.manifest} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// A parser reads an image, step by step.
type parser struct {
	Image
	f *elf.File
}

// segments notes what is loaded.
func (p *parser) segments() error {
	for i, ph := range p.f.Progs {
		if ph.Type != elf.PT_LOAD {
			continue
		}
		off := int64(ph.Off)
		if ph.Off > uint64(p.Size) || ph.Filesz > uint64(p.Size)-ph.Off {
			return &FormatError{off, fmt.Sprintf("the file of %d bytes is cut short: segment %d", p.Size, i), ph.Filesz}
		}
		if ph.Filesz != ph.Memsz || ph.Paddr+ph.Memsz < ph.Paddr {
			return &FormatError{off, fmt.Sprintf("size of segment %d", i), ph.Memsz}
		}
		if n := len(p.Segments); n > 0 && p.Segments[n-1].Phys+p.Segments[n-1].Size > ph.Paddr {
			return &FormatError{off, fmt.Sprintf("segment %d overlaps the one before, address", i), ph.Paddr}
		}
		p.Segments = append(p.Segments, Segment{
			Name: sectionAt(p.f, ph.Paddr), Phys: ph.Paddr, Off: off, Size: ph.Filesz, Flags: uint64(ph.Flags),
		})
	}
	if len(p.Segments) == 0 || p.Segments[0].Phys != bootinfo.LoadBase {
		return &FormatError{0, "no segment at the load address", nil}
	}
	return nil
}

// sectionAt returns the name of the section that begins at addr.
func sectionAt(f *elf.File, addr uint64) string {
	for _, s := range f.Sections {
		if s.Flags&elf.SHF_ALLOC != 0 && s.Addr == addr {
			return s.Name
		}
	}
	return ""
}

// note finds the PVH entry.
func (p *parser) note() error {
	for _, ph := range p.f.Progs {
		var note struct {
			NameSize, DescSize, Type uint32
			Name                     [4]byte
			Desc                     uint32
		}
		if ph.Type != elf.PT_NOTE {
			continue
		}
		if err := binary.Read(ph.Open(), binary.LittleEndian, &note); err != nil {
			return &FormatError{int64(ph.Off), "PVH note", err}
		}
		if note.NameSize != 4 || note.DescSize != 4 || note.Type != NotePVH || string(note.Name[:]) != NoteName {
			return &FormatError{int64(ph.Off), "not a PVH note", nil}
		}
		p.Entry = uint64(note.Desc)
		if first := p.Segments[0]; p.Entry < first.Phys || p.Entry-first.Phys >= first.Size || first.Flags&bootinfo.SegmentExec == 0 {
			return &FormatError{int64(ph.Off), "the entry is not in the first segment's code, address", p.Entry}
		}
		return nil
	}
	return &FormatError{0, "no PVH note", nil}
}

// header reads the boot header, and checks that what it names is there.
func (p *parser) header() error {
	off := p.Segments[0].Off + bootinfo.HeaderOffset
	b, _, err := p.read(bootinfo.Range{Addr: bootinfo.LoadBase + bootinfo.HeaderOffset, Size: uint64(bootinfo.HeaderSize)})
	if err != nil {
		return &FormatError{off, "no boot header", nil}
	}
	if p.Header, err = unmarshalHeader(b, off); err != nil {
		return err
	}
	for _, r := range headerRanges(&p.Header) {
		if _, ok := p.segment(r.Range); r.Size != 0 && !ok {
			return &FormatError{off, "boot header: " + r.name + " is not in the image, address", r.Addr}
		}
	}
	last := p.Segments[len(p.Segments)-1]
	if h := p.Header.Image; h.Addr != bootinfo.LoadBase || h.Size != last.Phys+last.Size-bootinfo.LoadBase {
		return &FormatError{off, "boot header: size of the image", h.Size}
	}
	return checkKernel(&p.Header, off)
}

// manifest reads the manifest.
func (p *parser) manifest() error {
	b, off, err := p.read(p.Header.Manifest)
	if err != nil {
		return &FormatError{off, "manifest", err}
	}
	if err := json.Unmarshal(b, &p.Manifest); err != nil {
		return &FormatError{off, "manifest", err}
	}
	if p.Manifest.Version != ManifestVersion {
		return &FormatError{off, "manifest of another version", p.Manifest.Version}
	}
	return nil
}

// files reads the list of files.
func (p *parser) files() error {
	s := p.f.Section(SectionFiles)
	if s == nil {
		return nil
	}
	off := int64(s.Offset)
	if s.Size > maxJSON || s.Size > uint64(p.Size) {
		return &FormatError{off, "size of the list of files", s.Size}
	}
	b, err := s.Data()
	if err != nil {
		return &FormatError{off, "list of files", err}
	}
	if err := json.Unmarshal(b, &p.Files); err != nil {
		return &FormatError{off, "list of files", err}
	}
	p.Manifest.Files = p.Files
	return nil
}

// segment returns the segment that holds all of r.
func (p *parser) segment(r bootinfo.Range) (Segment, bool) {
	for _, s := range p.Segments {
		if r.Addr >= s.Phys && r.Addr-s.Phys <= s.Size && r.Size <= s.Size-(r.Addr-s.Phys) {
			return s, true
		}
	}
	return Segment{}, false
}

// read returns what is loaded at r, and where that is in the file.
func (p *parser) read(r bootinfo.Range) ([]byte, int64, error) {
	s, ok := p.segment(r)
	if !ok {
		return nil, 0, errors.New("not in the image")
	}
	off := s.Off + int64(r.Addr-s.Phys)
	if r.Size > maxJSON {
		return nil, off, fmt.Errorf("%d bytes", r.Size)
	}
	for _, ph := range p.f.Progs {
		if ph.Type == elf.PT_LOAD && ph.Paddr == s.Phys {
			b := make([]byte, r.Size)
			_, err := ph.ReadAt(b, int64(r.Addr-s.Phys))
			return b, off, err
		}
	}
	return nil, off, errors.New("no segment")
}
