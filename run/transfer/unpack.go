package transfer

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Unpack makes the file or folder that an archive from a guest holds, which has
// the given name there, as dir/name; or, if name is ".", fills the folder dir. A
// file takes the place of one of its name; a folder is filled further; neither
// takes the other's place. owners keeps the archive's owners; else all is the
// caller's, and no file has its set-user-ID and set-group-ID bits. Devices are left
// out. say is told of what is.
func Unpack(r io.Reader, dir, name string, owners bool, say func(string)) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	u := &unpacker{root: root, top: name, owners: owners, say: say}
	defer u.close()
	in := tar.NewReader(r)
	for {
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("the guest's archive: %w", err)
		}
		if err := u.unpack(h, in); err != nil {
			return err
		}
	}
	if !u.begun {
		return errors.New("the guest's archive is empty")
	}
	return u.finishFolders()
}

// unpacker unpacks one archive.
type unpacker struct {
	root   *os.Root // the folder that top is in
	top    string
	inside *os.Root // the folder that top is, once it is one
	begun  bool
	owners bool
	say    func(string)

	folders []folder // whose modes and times are set in the end, as both stand in the way before
}

// folder is one that was made.
type folder struct {
	name string
	h    *tar.Header
}

func (u *unpacker) close() {
	if u.inside != nil {
		u.inside.Close()
	}
}

// unpack makes one entry.
func (u *unpacker) unpack(h *tar.Header, r io.Reader) error {
	name := path.Clean(h.Name)
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") { // a few bytes could fill the disk
			return fmt.Errorf("the guest's archive has %q with holes, which guests do not write", h.Name)
		}
	}
	if !u.begun {
		u.begun = true
		if name != u.top {
			return fmt.Errorf("the guest's archive begins with %q, want %q", h.Name, u.top)
		}
		return u.begin(h, r)
	}
	rest, ok := u.below(name)
	if !ok || u.inside == nil {
		return fmt.Errorf("the guest's archive has %q, which was not asked for", h.Name)
	}
	return u.make(u.inside, rest, h, r)
}

// below returns a name in the folder top.
func (u *unpacker) below(name string) (string, bool) {
	if u.top == "." {
		return name, filepath.IsLocal(name) && name != "."
	}
	rest, ok := strings.CutPrefix(name, u.top+"/")
	return rest, ok && filepath.IsLocal(rest)
}

// begin makes the first entry, which all others are in.
func (u *unpacker) begin(h *tar.Header, r io.Reader) error {
	if h.Typeflag != tar.TypeDir {
		if u.top == "." {
			return errors.New("the guest's archive holds a file, want a folder")
		}
		return u.make(u.root, u.top, h, r)
	}
	if u.top != "." {
		if err := u.makeFolder(u.root, u.top); err != nil {
			return err
		}
	}
	inside, err := u.root.OpenRoot(u.top)
	if err != nil {
		return err
	}
	u.inside = inside
	if u.top != "." {
		u.folders = append(u.folders, folder{".", h})
	}
	return nil
}

// make makes one entry in root.
func (u *unpacker) make(root *os.Root, name string, h *tar.Header, r io.Reader) error {
	switch h.Typeflag {
	case tar.TypeDir:
		u.folders = append(u.folders, folder{name, h})
		return u.makeFolder(root, name)
	case tar.TypeChar, tar.TypeBlock:
		u.say(name + " is left out: a device")
		return nil
	}
	if info, err := root.Lstat(name); err == nil && info.IsDir() {
		return fmt.Errorf("%s is a folder: no file can take its place", name)
	} else if err == nil {
		if err := root.Remove(name); err != nil {
			return err
		}
	}
	switch h.Typeflag {
	case tar.TypeReg:
		return u.makeFile(root, name, h, r)
	case tar.TypeSymlink:
		err := root.Symlink(h.Linkname, name)
		if err == nil && u.owners {
			err = root.Lchown(name, h.Uid, h.Gid)
		}
		if err == nil {
			err = setLinkTime(root, name, h.ModTime)
		}
		return err
	case tar.TypeLink:
		first, ok := u.below(path.Clean(h.Linkname))
		if !ok {
			return fmt.Errorf("the guest's archive has %q as another name of %q, which is not in it", h.Name, h.Linkname)
		}
		return root.Link(first, name)
	case tar.TypeFifo:
		if err := makePipe(root, name); err != nil {
			return err
		}
		return u.setAttributes(root, name, h)
	}
	return fmt.Errorf("the guest's archive has %q, of type %q", h.Name, h.Typeflag)
}

// makeFolder makes a folder, unless there is one.
func (u *unpacker) makeFolder(root *os.Root, name string) error {
	err := root.Mkdir(name, 0o700)
	if errors.Is(err, fs.ErrExist) {
		info, statErr := root.Lstat(name)
		if statErr == nil && info.IsDir() {
			return nil
		}
		return fmt.Errorf("%s is no folder: none can take its place", name)
	}
	return err
}

// makeFile makes a regular file.
func (u *unpacker) makeFile(root *os.Root, name string, h *tar.Header, r io.Reader) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return u.setAttributes(root, name, h)
}

// makePipe makes a named pipe.
func makePipe(root *os.Root, name string) error {
	return inFolder(root, name, "mkfifo", func(dir int, base string) error { return unix.Mkfifoat(dir, base, 0o600) })
}

// setLinkTime sets the time of a link itself.
func setLinkTime(root *os.Root, name string, t time.Time) error {
	ts, err := unix.TimeToTimespec(t)
	if err != nil {
		return nil // of a year that the system does not have
	}
	return inFolder(root, name, "utimensat", func(dir int, base string) error {
		return unix.UtimesNanoAt(dir, base, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
	})
}

// inFolder calls f, which is called op, with the folder that a file is in, and its
// name there.
func inFolder(root *os.Root, name, op string, f func(dir int, base string) error) error {
	// What is no folder is not opened: that of a pipe would wait.
	dir, err := root.OpenFile(path.Dir(name), os.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := f(int(dir.Fd()), path.Base(name)); err != nil {
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
	return nil
}

// finishFolders gives folders what they have in the archive.
func (u *unpacker) finishFolders() error {
	for i := len(u.folders) - 1; i >= 0; i-- {
		if err := u.setAttributes(u.inside, u.folders[i].name, u.folders[i].h); err != nil {
			return err
		}
	}
	return nil
}

// setAttributes sets owner, mode and time, in this order: a new owner takes the
// set-user-ID bit away.
func (u *unpacker) setAttributes(root *os.Root, name string, h *tar.Header) error {
	mode := h.FileInfo().Mode() & fs.ModePerm
	if u.owners {
		if err := root.Lchown(name, h.Uid, h.Gid); err != nil {
			return err
		}
		mode = h.FileInfo().Mode() & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
	}
	if err := root.Chmod(name, mode); err != nil {
		return err
	}
	return root.Chtimes(name, h.ModTime, h.ModTime)
}
