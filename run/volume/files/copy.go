package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"kiln/kernel/fs"
	"kiln/run/volume"
)

// Copy copies the file or the directory at from, with all below, to the host.
// As with cp, an existing directory to is where it goes; nothing is replaced,
// and it appears once it is complete. Permissions, times, holes and symbolic
// links stay as they are; owners, extended attributes and set-id bits do not.
// Devices, sockets and FIFOs are left out, with a line in the log.
func (m *Image) Copy(ctx context.Context, from, to string) (err error) {
	in, err := m.find(from, true)
	if err != nil {
		return err
	}
	defer in.DecRef()
	if a, err := in.Attr(); err != nil {
		return m.failed(from, err)
	} else if t := a.Mode & syscall.S_IFMT; t != syscall.S_IFREG && t != syscall.S_IFDIR {
		return m.noContent(from)
	}
	if to, err = destination(from, to); err != nil {
		return err
	}
	parent, err := os.MkdirTemp(filepath.Dir(to), ".kiln-copy-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(parent)) }()
	c := &copier{ctx: ctx, m: m, seen: make(map[uint64]bool), buf: make([]byte, chunk)}
	temporary := filepath.Join(parent, "copy")
	if err := c.copy(in, from, temporary); err != nil {
		return err
	}
	if err := unix.Renameat2(unix.AT_FDCWD, temporary, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE); err != nil {
		return &os.LinkError{Op: "rename", Old: temporary, New: to, Err: err}
	}
	return c.finish(temporary, to)
}

// noContent says that the file at path is a device, a socket or a FIFO.
func (m *Image) noContent(path string) error {
	return &volume.Error{Msg: fmt.Sprintf("%s:%s is no regular file", m.name, Text(path))}
}

// destination returns where a copy of from goes that is to go to to.
func destination(from, to string) (string, error) {
	st, err := os.Stat(to)
	switch name := path.Base(path.Clean("/" + from)); {
	case err == nil && st.IsDir() && name == "/":
		return "", &volume.Error{Msg: to + " is there already", Hint: "name a folder that is not there yet"}
	case err == nil && st.IsDir():
		to = filepath.Join(to, name)
	}
	if _, err := os.Lstat(to); err == nil {
		return "", &volume.Error{Msg: to + " is there already", Hint: "remove it, or name another place"}
	} else if !errors.Is(err, iofs.ErrNotExist) {
		return "", err
	}
	if st, err := os.Stat(filepath.Dir(to)); err != nil || !st.IsDir() {
		return "", &volume.Error{Msg: "there is no folder " + filepath.Dir(to)}
	}
	return to, nil
}

// A copier is a copy under way.
type copier struct {
	ctx  context.Context
	m    *Image
	seen map[uint64]bool // directories, by inode number
	buf  []byte
	dirs []dirAttr // outer ones first
}

// dirAttr is what a directory gets last: it may not let its maker write.
type dirAttr struct {
	path string
	mode os.FileMode
	when time.Time
}

// copy copies what in is, the image's path from, to the host's path to, which
// is not there yet.
func (c *copier) copy(in fs.Inode, from, to string) error {
	a, err := in.Attr()
	if err != nil {
		return c.m.failed(from, err)
	}
	switch a.Mode & syscall.S_IFMT {
	case syscall.S_IFREG:
		return c.file(in, a, from, to)
	case syscall.S_IFLNK:
		target, err := in.Readlink()
		if err != nil {
			return c.m.failed(from, err)
		}
		return os.Symlink(target, to)
	case syscall.S_IFDIR:
		if c.seen[a.Ino] {
			return c.m.failed(from, fmt.Errorf("the directory is in two places: %w", fs.EUCLEAN))
		}
		c.seen[a.Ino] = true
		return c.directory(in, a, from, to)
	}
	c.m.log(Text(from) + " is left out: it is no file, directory or symbolic link")
	return nil
}

func (c *copier) directory(in fs.Inode, a fs.Attr, from, to string) error {
	names, err := readDir(in)
	if err != nil {
		return c.m.failed(from, err)
	}
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	c.dirs = append(c.dirs, dirAttr{to, permissions(a), a.Mtime})
	for _, name := range names {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		// A name that leads elsewhere on the host is damage, or worse.
		if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
			return c.m.failed(join(from, name), fmt.Errorf("no name for a file: %w", fs.EUCLEAN))
		}
		child, err := in.Lookup(name)
		if err != nil {
			return c.m.failed(join(from, name), err)
		}
		err = c.copy(child, join(from, name), filepath.Join(to, name))
		child.DecRef()
		if err != nil {
			return err
		}
	}
	return nil
}

// permissions returns those that a copy gets.
func permissions(a fs.Attr) os.FileMode { return os.FileMode(a.Mode & 0o777) }

func (c *copier) file(in fs.Inode, a fs.Attr, from, to string) (err error) {
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := c.content(in, int64(a.Size), f); err != nil {
		return c.m.failed(from, err)
	}
	if err := f.Chmod(permissions(a)); err != nil {
		return err
	}
	return os.Chtimes(to, a.Mtime, a.Mtime)
}

// content copies what is no hole.
func (c *copier) content(in fs.Inode, size int64, f *os.File) error {
	if err := f.Truncate(size); err != nil {
		return err
	}
	for off := int64(0); off < size; {
		data, err := in.SeekData(off)
		if errors.Is(err, syscall.ENXIO) {
			return nil
		} else if err != nil {
			return err
		}
		hole, err := in.SeekHole(data)
		if err != nil {
			return err
		}
		if data < off || hole <= data {
			return fmt.Errorf("data from %d to %d: %w", data, hole, fs.EUCLEAN)
		}
		from := &stoppable{c.ctx, io.NewSectionReader(in, data, hole-data)}
		if _, err := io.CopyBuffer(onlyWriter{io.NewOffsetWriter(f, data)}, from, c.buf); err != nil {
			return err
		}
		off = hole
	}
	return nil
}

// stoppable is a reader that ends with its context.
type stoppable struct {
	ctx context.Context
	r   io.Reader
}

// Read implements io.Reader.
func (s *stoppable) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(p)
}

// finish gives directories their permissions and times, once all is below to
// instead of temporary.
func (c *copier) finish(temporary, to string) error {
	for i := len(c.dirs) - 1; i >= 0; i-- {
		d := c.dirs[i]
		at := to + strings.TrimPrefix(d.path, temporary)
		if err := os.Chtimes(at, d.when, d.when); err != nil {
			return err
		}
		if err := os.Chmod(at, d.mode); err != nil {
			return err
		}
	}
	return nil
}
