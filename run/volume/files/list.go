package files

import (
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	"kiln/kernel/fs"
)

// An Entry is what a directory has under a name.
type Entry struct {
	Name     string    `json:"name"`
	Mode     string    `json:"mode"` // as ls -l writes it
	Links    uint32    `json:"links"`
	UID      uint32    `json:"uid"`
	GID      uint32    `json:"gid"`
	Size     uint64    `json:"size"` // bytes
	Modified time.Time `json:"modified"`
	Target   string    `json:"target,omitempty"` // of a symbolic link
}

// List returns what is in the directory at path, by name; of anything else, the
// entry itself. With an error come those entries that could be read.
func (m *Image) List(path string) ([]Entry, error) {
	in, err := m.find(path, strings.HasSuffix(path, "/"))
	if err != nil {
		return nil, err
	}
	defer in.DecRef()
	names, err := readDir(in)
	if err == syscall.ENOTDIR {
		e, err := describe(in, path[strings.LastIndexByte(path, '/')+1:])
		if err != nil {
			return nil, m.failed(path, err)
		}
		return []Entry{e}, nil
	} else if err != nil {
		err = m.failed(path, err)
	}
	var entries []Entry
	for _, name := range names {
		e, lookErr := lookup(in, name)
		if lookErr != nil {
			err = errors.Join(err, m.failed(join(path, name), lookErr))
			continue
		}
		entries = append(entries, e)
	}
	return entries, err
}

// join returns the path of an entry.
func join(dir, name string) string { return strings.TrimSuffix(dir, "/") + "/" + name }

// readDir returns the names in a directory, sorted; with an error, those that
// could be read.
func readDir(dir fs.Inode) ([]string, error) {
	if a, err := dir.Attr(); err != nil {
		return nil, err
	} else if a.Mode&syscall.S_IFMT != syscall.S_IFDIR {
		return nil, syscall.ENOTDIR
	}
	var names []string
	err := dir.ReadDir(0, func(e fs.Dirent) bool {
		names = append(names, e.Name)
		return true
	})
	slices.Sort(names)
	return names, err
}

func lookup(dir fs.Inode, name string) (Entry, error) {
	in, err := dir.Lookup(name)
	if err != nil {
		return Entry{}, err
	}
	defer in.DecRef()
	return describe(in, name)
}

func describe(in fs.Inode, name string) (Entry, error) {
	a, err := in.Attr()
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Name: name, Mode: modeText(a.Mode), Links: a.Nlink, UID: a.UID, GID: a.GID, Size: a.Size, Modified: a.Mtime}
	if a.Mode&syscall.S_IFMT == syscall.S_IFLNK {
		e.Target, err = in.Readlink()
	}
	return e, err
}

// typeLetters are what ls -l begins with.
var typeLetters = map[uint32]byte{
	syscall.S_IFREG: '-', syscall.S_IFDIR: 'd', syscall.S_IFLNK: 'l', syscall.S_IFCHR: 'c',
	syscall.S_IFBLK: 'b', syscall.S_IFIFO: 'p', syscall.S_IFSOCK: 's',
}

// modeText writes a mode as ls -l does.
func modeText(mode uint32) string {
	text := []byte("?rwxrwxrwx")
	if c, ok := typeLetters[mode&syscall.S_IFMT]; ok {
		text[0] = c
	}
	for i := range 9 {
		if mode&(0o400>>i) == 0 {
			text[1+i] = '-'
		}
	}
	for _, special := range []struct {
		bit    uint32
		at     int
		letter byte
	}{{syscall.S_ISUID, 3, 's'}, {syscall.S_ISGID, 6, 's'}, {syscall.S_ISVTX, 9, 't'}} {
		if mode&special.bit == 0 {
			continue
		}
		if text[special.at] == '-' {
			special.letter -= 'a' - 'A'
		}
		text[special.at] = special.letter
	}
	return string(text)
}

// Text returns a name for a terminal: quoted if it has what a terminal would act
// on.
func Text(name string) string {
	if strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
		return strconv.Quote(name)
	}
	return name
}

// chunk is how much is copied at a time: bytes.
const chunk = 1 << 20

// Cat writes the content of the file at path.
func (m *Image) Cat(path string, w io.Writer) error {
	in, err := m.find(path, true)
	if err != nil {
		return err
	}
	defer in.DecRef()
	a, err := in.Attr()
	if err != nil {
		return m.failed(path, err)
	}
	switch a.Mode & syscall.S_IFMT {
	case syscall.S_IFREG:
	case syscall.S_IFDIR:
		return m.failed(path, syscall.EISDIR)
	default:
		return m.noContent(path)
	}
	_, err = io.CopyBuffer(onlyWriter{w}, io.NewSectionReader(in, 0, int64(a.Size)), make([]byte, chunk))
	if err != nil {
		return m.failed(path, err)
	}
	return nil
}

// onlyWriter keeps io.CopyBuffer to the buffer that it is given.
type onlyWriter struct{ io.Writer }
