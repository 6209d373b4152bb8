package symbols

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/erofs/go-erofs"

	"kiln/image"
)

// DebugFolder is where Debian's debug packages put what they have of programs.
const DebugFolder = "/usr/lib/debug"

// Programs returns the programs and libraries in the image at path that have
// symbols, or have them in folder debug of this machine.
func Programs(path, debug string) ([]*Object, error) {
	img, err := image.OpenUnchecked(path)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	section, err := img.RootFS(f)
	if err != nil || section == nil {
		return nil, err
	}
	fsys, err := erofs.Open(section)
	if err == nil {
		var objects []*Object
		if objects, err = programs(fsys, debug); err == nil {
			return objects, nil
		}
	}
	return nil, fmt.Errorf("%s: its root file system: %w", path, err)
}

// programs is Programs for a root file system.
func programs(fsys fs.FS, debug string) ([]*Object, error) {
	var objects []*Object
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := readELF(fsys, name)
		if err != nil || b == nil {
			return err
		}
		o, err := program("/"+name, b, debug)
		if err != nil || o == nil {
			return err
		}
		objects = append(objects, o)
		return nil
	})
	return objects, err
}

// readELF returns the content of the file of that name, nil if it is no ELF file.
func readELF(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	magic := make([]byte, len(elf.ELFMAG))
	if _, err := io.ReadFull(f, magic); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, nil
	} else if err != nil || string(magic) != elf.ELFMAG {
		return nil, err
	}
	rest, err := io.ReadAll(f)
	return append(magic, rest...), err
}

// program returns what has a name in a program or library, nil if nothing has. A
// file that is ELF but damaged, or for another machine, has nothing.
func program(name string, b []byte, debug string) (*Object, error) {
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil || f.Type != elf.ET_DYN && f.Type != elf.ET_EXEC {
		return nil, nil
	}
	o := &Object{Name: name, Movable: f.Type == elf.ET_DYN, file: f}
	if f.Section(".symtab") == nil {
		if apart := debugFile(name, f, debug); apart != nil {
			o.file = apart
		}
	}
	if o.Symbols, err = read(name, o.file); err != nil {
		return nil, nil
	}
	if len(o.Symbols) == 0 {
		return nil, nil
	}
	return o, nil
}

// debugFile returns the file in folder debug with the symbols of the stripped
// file f, by its build ID or its debug link, nil if there is none.
func debugFile(name string, f *elf.File, debug string) *elf.File {
	if id := buildID(f); len(id) > 1 {
		h := hex.EncodeToString(id)
		if b, err := os.ReadFile(filepath.Join(debug, ".build-id", h[:2], h[2:]+".debug")); err == nil {
			if d, err := elf.NewFile(bytes.NewReader(b)); err == nil && bytes.Equal(buildID(d), id) {
				return d
			}
		}
	}
	link, sum, ok := debugLink(f)
	if !ok {
		return nil
	}
	b, err := os.ReadFile(filepath.Join(debug, path.Dir(name), link))
	if err != nil || crc32.ChecksumIEEE(b) != sum {
		return nil
	}
	d, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		return nil
	}
	return d
}

// buildID returns the GNU build ID of f (ELF note of type 3), nil if it has none.
func buildID(f *elf.File) []byte {
	s := f.Section(".note.gnu.build-id")
	if s == nil || s.Type != elf.SHT_NOTE {
		return nil
	}
	b, err := s.Data()
	const head = 16 // sizes of name and description, type, "GNU\0"
	if err != nil || len(b) < head || binary.LittleEndian.Uint32(b) != 4 || string(b[12:16]) != "GNU\x00" {
		return nil
	}
	if n := binary.LittleEndian.Uint32(b[4:]); uint64(n) <= uint64(len(b)-head) {
		return b[head : head+n]
	}
	return nil
}

// debugLink returns the name of the file with the symbols of f, and its CRC
// (section .gnu_debuglink, GDB manual, "Debugging Information in Separate Files").
func debugLink(f *elf.File) (name string, sum uint32, ok bool) {
	s := f.Section(".gnu_debuglink")
	if s == nil {
		return "", 0, false
	}
	b, err := s.Data()
	if err != nil {
		return "", 0, false
	}
	end := bytes.IndexByte(b, 0)
	at := (end + 4) / 4 * 4
	if end <= 0 || len(b) < at+4 {
		return "", 0, false
	}
	name = string(b[:end])
	return name, binary.LittleEndian.Uint32(b[at:]), name == path.Base(name)
}
