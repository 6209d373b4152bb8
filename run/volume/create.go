package volume

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// Sizes of a volume, bytes. An ext4 with a journal takes a few MB.
const (
	minSize = 8 << 20
	maxSize = 16 << 40 // what ext4 has with blocks of 4 KB without 64bit
)

// maker is how a file system is made.
type maker struct {
	program string // of the package e2fsprogs
	args    []string
}

// makers are the file systems that a volume may have.
var makers = map[string]maker{
	"ext4": {"mkfs.ext4", []string{"-q", "-F"}},
	"ext2": {"mkfs.ext2", []string{"-q", "-F"}},
}

// fileSystems lists them for messages.
const fileSystems = "ext4 or ext2"

// Create makes a volume. It appears once it is complete.
func (s Store) Create(name string, size int64, fsType string) (err error) {
	if err := CheckName(name); err != nil {
		return err
	}
	if size < minSize || size > maxSize {
		return &Error{fmt.Sprintf("a volume of %d bytes is too small or too large", size), "it may have 8M to 16T"}
	}
	m, ok := makers[fsType]
	if !ok {
		return &Error{fmt.Sprintf("there is no making a file system %q", fsType), "there is " + fileSystems}
	}
	path := s.Path(name)
	if _, err := os.Lstat(path); err == nil {
		return exists(name)
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(s.dir, ".new-")
	if err != nil {
		return err
	}
	defer func() {
		if e := os.Remove(f.Name()); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}()
	// Whole sectors of any size.
	err = errors.Join(f.Truncate(size&^4095), f.Close())
	if err != nil {
		return err
	}
	if err := m.run(f.Name(), name); err != nil {
		return err
	}
	err = unix.Renameat2(unix.AT_FDCWD, f.Name(), unix.AT_FDCWD, path, unix.RENAME_NOREPLACE)
	if err == unix.EEXIST {
		return exists(name)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: f.Name(), New: path, Err: err}
	}
	return nil
}

func exists(name string) error {
	return &Error{fmt.Sprintf("there is a volume %q already", name), "kiln volume rm " + name + " removes it, with what is in it"}
}

// run makes the file system in a file.
func (m maker) run(path, name string) error {
	// /sbin is not on every user's PATH.
	program, err := exec.LookPath(m.program)
	for _, dir := range []string{"/usr/sbin/", "/sbin/"} {
		if err != nil {
			program, err = exec.LookPath(dir + m.program)
		}
	}
	if err != nil {
		return &Error{m.program + ": not found", "install the package e2fsprogs: sudo apt-get install e2fsprogs"}
	}
	label := name[:min(len(name), 16)] // ext4 has no room for more
	out, err := exec.Command(program, append(m.args, "-L", label, path)...).CombinedOutput()
	if err != nil {
		text := strings.ReplaceAll(string(bytes.TrimSpace(out)), path, name)
		return fmt.Errorf("%s: %w: %s", m.program, err, text)
	}
	return nil
}
