package bake

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"kiln/image"
	"kiln/image/bootinfo"
)

// Sizes of ELF structures in bytes.
const (
	ehdrSize = 64
	phdrSize = 56
	shdrSize = 64
)

// maxImage is where the payload must end: metal starts on the boot page
// tables, and needs memory that they map beside the image.
const maxImage = bootinfo.BootMapSize - 16<<20

// writeImage writes the image to path, or leaves path as it was, as it does once
// ctx ends. files is called when the payload is written.
func writeImage(ctx context.Context, path string, p *payload, files func() []image.File) (err error) {
	if p.end > maxImage {
		return inputErrorf("", "the image would need %d MB of memory, and %d MB is the most: add fewer files", p.end>>20, maxImage>>20)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return outputError(path, err)
	}
	defer func() {
		if err != nil {
			// The first error is the one to report.
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err := writeELF(ctx, f, p, files); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var input *InputError
		if errors.As(err, &input) {
			return err
		}
		return outputError(path, err)
	}
	if err := f.Chmod(0o644); err != nil {
		return outputError(path, err)
	}
	if err := f.Close(); err != nil {
		return outputError(path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return outputError(path, err)
	}
	return nil
}

// checkOutput finds out before the work whether path can take an image.
func checkOutput(path string) error {
	if st, err := os.Stat(path); err == nil && !st.Mode().IsRegular() {
		return inputErrorf(path, "the output exists and is not a regular file")
	}
	dir := filepath.Dir(path)
	if st, err := os.Stat(dir); err != nil {
		return outputError(path, err)
	} else if !st.IsDir() {
		return inputErrorf(path, "cannot write the output: %s is no directory", dir)
	}
	return nil
}

// outputError returns an InputError for an output that cannot be written.
func outputError(path string, err error) error {
	// The file that an operation of package os names is a temporary one.
	var pathErr *fs.PathError
	var linkErr *os.LinkError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	} else if errors.As(err, &linkErr) {
		err = linkErr.Err
	}
	return &InputError{Name: path, Msg: "cannot write the output", Err: err}
}

// writeELF writes the image's ELF file: one page of headers, the payload, the
// list of files, section names, section headers, and the checksum.
func writeELF(ctx context.Context, f *os.File, p *payload, files func() []image.File) error {
	if _, err := f.Seek(image.PayloadOffset, io.SeekStart); err != nil {
		return err
	}
	for _, q := range p.parts {
		if _, err := f.Seek(fileOffset(q.phys), io.SeekStart); err != nil {
			return err
		}
		if err := q.write(contextWriter{ctx, f}); err != nil {
			return err
		}
	}
	end := fileOffset(p.end)
	list, err := json.Marshal(files())
	if err != nil {
		return fmt.Errorf("list of files: %w", err)
	}
	names, headers := sections(p, end, int64(len(list)))
	tail := append(append([]byte(nil), list...), names...)
	shoff := (end + int64(len(tail)) + 7) &^ 7
	if _, err := f.WriteAt(tail, end); err != nil {
		return err
	}
	if _, err := f.WriteAt(headers, shoff); err != nil {
		return err
	}
	if _, err = f.WriteAt(elfPage(p, uint64(shoff), len(headers)/shdrSize), 0); err != nil {
		return err
	}
	return seal(f)
}

// seal adds the checksum of all that f holds.
func seal(f *os.File) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	trailer, err := image.Trailer(f)
	if err != nil {
		return err
	}
	_, err = f.Write(trailer) // the reading ended where it belongs
	return err
}

// fileOffset returns where physical address phys is in the file.
func fileOffset(phys uint64) int64 { return int64(phys - bootinfo.LoadBase + image.PayloadOffset) }

// multibootHeader returns the header by which a Multiboot2 loader, GRUB, knows
// the image (Multiboot2 Specification 2.0, §3.1). It lies on a multiple of 8
// bytes in the file's first 32 KB.
func multibootHeader() []byte {
	const (
		magic       = 0xe85250d6
		tagRequest  = 1
		tagEntry    = 3
		tagAlign    = 6 // modules on pages
		infoModule  = 3
		infoMemory  = 6
		headerBytes = 16 + 16 + 16 + 8 + 8
	)
	var b bytes.Buffer
	var length uint32 = headerBytes
	sum := -(magic + length) // architecture 0: i386, 32-bit mode
	put(&b, []uint32{magic, 0, length, sum})
	put(&b, []uint32{tagRequest, 16, infoModule, infoMemory})
	put(&b, []uint32{tagEntry, 12, multibootEntry, 0}) // the last is padding
	put(&b, []uint32{tagAlign, 8})
	put(&b, []uint32{0, 8})
	return b.Bytes()
}

// elfPage returns the first page of the file: ELF header, program headers, the
// note, and the Multiboot2 header.
func elfPage(p *payload, shoff uint64, sections int) []byte {
	var note, progs bytes.Buffer
	put(&note, []uint32{4, 4, image.NotePVH})
	note.WriteString(image.NoteName)
	put(&note, uint32(bootinfo.LoadBase))
	noteOff := uint64(ehdrSize + phdrSize*(len(p.parts)+1))
	for _, q := range p.parts {
		put(&progs, elf.Prog64{
			Type: uint32(elf.PT_LOAD), Flags: uint32(q.flags), Off: uint64(fileOffset(q.phys)),
			Vaddr: q.phys, Paddr: q.phys, Filesz: pageUp(q.size), Memsz: pageUp(q.size), Align: pageSize,
		})
	}
	put(&progs, elf.Prog64{
		Type: uint32(elf.PT_NOTE), Flags: uint32(elf.PF_R), Off: noteOff,
		Filesz: uint64(note.Len()), Memsz: uint64(note.Len()), Align: 4,
	})
	h := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: 1, Entry: bootinfo.LoadBase,
		Phoff: ehdrSize, Shoff: shoff, Ehsize: ehdrSize, Phentsize: phdrSize, Phnum: uint16(len(p.parts) + 1),
		Shentsize: shdrSize, Shnum: uint16(sections), Shstrndx: uint16(sections - 1),
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS] = byte(elf.ELFCLASS64)
	h.Ident[elf.EI_DATA] = byte(elf.ELFDATA2LSB)
	h.Ident[elf.EI_VERSION] = byte(elf.EV_CURRENT)
	var page bytes.Buffer
	put(&page, h)
	page.Write(progs.Bytes())
	page.Write(note.Bytes())
	page.Write(make([]byte, -page.Len()&7))
	page.Write(multibootHeader())
	if page.Len() > image.PayloadOffset {
		panic(fmt.Sprintf("bake: ELF headers of %d bytes", page.Len()))
	}
	return append(page.Bytes(), make([]byte, image.PayloadOffset-page.Len())...)
}

// sections returns the section names and the section headers: the parts, the
// list of files, which lies at end, and behind it the names.
func sections(p *payload, end, listSize int64) (names, headers []byte) {
	var b bytes.Buffer
	names = []byte{0}
	add := func(name string, s elf.Section64) {
		s.Name = uint32(len(names))
		names = append(append(names, name...), 0)
		put(&b, s)
	}
	put(&b, elf.Section64{})
	for _, q := range p.parts {
		flags := elf.SHF_ALLOC
		if q.flags&bootinfo.SegmentWrite != 0 {
			flags |= elf.SHF_WRITE
		}
		if q.flags&bootinfo.SegmentExec != 0 {
			flags |= elf.SHF_EXECINSTR
		}
		add(q.name, elf.Section64{
			Type: uint32(elf.SHT_PROGBITS), Flags: uint64(flags), Addr: q.phys,
			Off: uint64(fileOffset(q.phys)), Size: q.size, Addralign: pageSize,
		})
	}
	add(image.SectionFiles, elf.Section64{Type: uint32(elf.SHT_PROGBITS), Off: uint64(end), Size: uint64(listSize), Addralign: 1})
	const last = ".shstrtab"
	add(last, elf.Section64{
		Type: uint32(elf.SHT_STRTAB), Off: uint64(end + listSize), Size: uint64(len(names) + len(last) + 1), Addralign: 1,
	})
	return names, b.Bytes()
}

// put appends v, little endian. A buffer takes all, and v is of fixed size.
func put(b *bytes.Buffer, v any) {
	if err := binary.Write(b, binary.LittleEndian, v); err != nil {
		panic(fmt.Sprintf("bake: encoding %T: %v", v, err))
	}
}
