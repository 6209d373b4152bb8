// Package volume keeps named disk images for machines to mount: raw files with
// a file system in them, sparse, in $XDG_DATA_HOME/kiln/volumes.
package volume

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// suffix ends the file name of a volume.
const suffix = ".img"

// Error is a request that cannot be fulfilled as it is.
type Error struct {
	Msg  string
	Hint string // "" if there is nothing to say
}

func (e *Error) Error() string { return e.Msg }

// Store is a folder of volumes.
type Store struct {
	dir string
}

// Default returns the user's store. getenv is os.Getenv, or in its place.
func Default(getenv func(string) string) (Store, error) {
	data := getenv("XDG_DATA_HOME")
	// The XDG specification has relative paths ignored.
	if !filepath.IsAbs(data) {
		home := getenv("HOME")
		if home == "" {
			return Store{}, &Error{"there is no place for volumes: neither XDG_DATA_HOME nor HOME is set", ""}
		}
		data = filepath.Join(home, ".local", "share")
	}
	return Store{filepath.Join(data, "kiln", "volumes")}, nil
}

// validName is what volumes may be called. There is no slash in it, which
// tells them from folders, and no colon or comma, which end them.
var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$`)

// CheckName returns what is wrong with a name.
func CheckName(name string) error {
	if validName.MatchString(name) {
		return nil
	}
	return &Error{fmt.Sprintf("%q is no name for a volume", name), "a name has letters, digits, and after the first also . _ -, 63 at most"}
}

// Path returns where the volume called name is, whether it exists or not.
func (s Store) Path(name string) string { return filepath.Join(s.dir, name+suffix) }

// Find returns the path of a volume, or an Error if there is none.
func (s Store) Find(name string) (string, error) {
	if err := CheckName(name); err != nil {
		return "", err
	}
	path := s.Path(name)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return "", &Error{fmt.Sprintf("there is no volume %q", name), "kiln volume create " + name + " --size 1G"}
	} else if err != nil {
		return "", err
	}
	return path, nil
}

// Volume describes a volume.
type Volume struct {
	Name      string    `json:"name"`
	Path      string    `json:"path"`
	Size      int64     `json:"size"`      // bytes
	Allocated int64     `json:"allocated"` // bytes that it takes on the host
	FS        string    `json:"fs"`        // "ext4", …; "" if not recognised
	Modified  time.Time `json:"modified"`
	InUse     bool      `json:"inUse"` // a machine has it
}

// List returns all volumes, by name.
func (s Store) List() ([]Volume, error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []Volume
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok || CheckName(name) != nil {
			continue
		}
		v, err := s.describe(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b Volume) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

func (s Store) describe(name string) (Volume, error) {
	f, err := os.Open(s.Path(name))
	if err != nil {
		return Volume{}, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return Volume{}, &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	used, err := inUse(f)
	if err != nil {
		return Volume{}, err
	}
	return Volume{
		Name: name, Path: f.Name(), Size: st.Size, Allocated: st.Blocks * 512, FS: fileSystem(f),
		Modified: time.Unix(st.Mtim.Unix()), InUse: used,
	}, nil
}

// Remove removes a volume, unless a machine has it.
func (s Store) Remove(name string) error {
	path, err := s.Find(name)
	if err != nil {
		if e, ok := errors.AsType[*Error](err); ok {
			e.Hint = "kiln volume ls lists those there are"
		}
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	used, err := inUse(f)
	if err != nil {
		return err
	}
	if used {
		return &Error{fmt.Sprintf("volume %q is in use by a machine", name), "end that one first"}
	}
	return os.Remove(path)
}

// QEMU marks what it does with an image by locks on single bytes from 100 to
// 300 of the file (block/file-posix.c, RAW_LOCK_PERM_BASE).
const (
	lockBase   = 100
	lockLength = 200
)

// inUse tells whether a QEMU has the file open.
func inUse(f *os.File) (bool, error) {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Start: lockBase, Len: lockLength}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock); err != nil {
		return false, &fs.PathError{Op: "lock", Path: f.Name(), Err: err}
	}
	return lock.Type != unix.F_UNLCK, nil
}

// Bytes of those that stand for one permission each: QEMU locks the first while
// it may write, and tests the others before it takes that, or that of changing
// the size, for itself (BLK_PERM_WRITE, BLK_PERM_RESIZE).
const (
	lockWrites     = lockBase + 1
	lockNoWriters  = lockBase + 100 + 1
	lockNoResizers = lockBase + 100 + 3
)

// HoldStill keeps machines from opening an image for writing until f, which is
// open on it, is closed. It returns false if there is one already that may
// write.
func HoldStill(f *os.File) (bool, error) {
	for _, at := range []int64{lockNoWriters, lockNoResizers} {
		lock := unix.Flock_t{Type: unix.F_RDLCK, Start: at, Len: 1}
		if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &lock); err != nil {
			return false, &fs.PathError{Op: "lock", Path: f.Name(), Err: err}
		}
	}
	lock := unix.Flock_t{Type: unix.F_WRLCK, Start: lockWrites, Len: 1}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock); err != nil {
		return false, &fs.PathError{Op: "lock", Path: f.Name(), Err: err}
	}
	return lock.Type == unix.F_UNLCK, nil
}

// Where ext2, ext3 and ext4 keep their magic number and features.
const (
	extMagic        = 1024 + 56
	extCompat       = 1024 + 92
	extIncompat     = 1024 + 96
	extHasJournal   = 1 << 2
	extIncompatExt4 = 1<<6 | 1<<7 | 1<<9 // extents, 64bit, flex_bg
)

// fileSystem recognises what is on an image, "" if it does not.
func fileSystem(f *os.File) string {
	var b [4096]byte
	if _, err := f.ReadAt(b[:], 0); err != nil || b[extMagic] != 0x53 || b[extMagic+1] != 0xef {
		return ""
	}
	incompat := int(b[extIncompat]) | int(b[extIncompat+1])<<8
	switch {
	case incompat&extIncompatExt4 != 0:
		return "ext4"
	case b[extCompat]&extHasJournal != 0:
		return "ext3"
	}
	return "ext2"
}

// ParseSize reads a size: a number with K, M, G or T behind it, or of bytes.
func ParseSize(s string) (int64, error) {
	bad := &Error{fmt.Sprintf("%q is no size", s), "write a number of bytes, or with K, M, G or T behind it: 1G"}
	digits := strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(s), "B"), "I")
	shift := 0
	for i, unit := range "KMGT" {
		if d, ok := strings.CutSuffix(digits, string(unit)); ok {
			digits, shift = d, 10*(i+1)
			break
		}
	}
	n, err := strconv.ParseUint(digits, 10, 62)
	if err != nil || n == 0 || n > 1<<62>>shift {
		return 0, bad
	}
	return int64(n) << shift, nil
}
