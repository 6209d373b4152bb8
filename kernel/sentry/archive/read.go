package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
	"gvisor.dev/gvisor/pkg/usermem"
)

// Read writes an archive of what is at path p to w: a file, or a folder with all
// that is in it, named as name. follow follows p if it is a link.
func (t *Tree) Read(p, name string, follow bool, w io.Writer) error {
	if err := check(p); err != nil {
		return err
	}
	r := &reader{Tree: t, tar: tar.NewWriter(w), linked: map[inode]string{}, piece: make([]byte, pieceSize)}
	if follow {
		real, err := t.real(p)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		p = real
	}
	s, err := t.stat(p, false)
	if err != nil {
		return fmt.Errorf("%s: %w", p, err)
	}
	if r.start, err = t.filesystem(p); err != nil {
		return err
	}
	if err := r.add(p, name, s); err != nil {
		return err
	}
	return r.tar.Close()
}

// inode is a file, whatever names it has.
type inode struct {
	major, minor uint32
	number       uint64
}

// reader writes one archive.
type reader struct {
	*Tree
	tar    *tar.Writer
	linked map[inode]string // files with several names: the first that was written
	start  *vfs.Filesystem  // of what is copied
	piece  []byte
}

// add writes what is at path p, which is s, and what is in it.
func (r *reader) add(p, name string, s linux.Statx) error {
	h := header(name, s)
	switch kindOf(s) {
	case linux.S_IFDIR:
		return r.addFolder(p, h)
	case linux.S_IFREG:
		return r.addFile(p, h, s)
	case linux.S_IFLNK:
		target, err := r.VFS.ReadlinkAt(r.Ctx, r.Creds, r.op(p, false))
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		h.Typeflag, h.Linkname = tar.TypeSymlink, target
	case linux.S_IFIFO:
		h.Typeflag = tar.TypeFifo
	case linux.S_IFCHR, linux.S_IFBLK:
		h.Typeflag = tar.TypeChar
		if kindOf(s) == linux.S_IFBLK {
			h.Typeflag = tar.TypeBlock
		}
		h.Devmajor, h.Devminor = int64(s.RdevMajor), int64(s.RdevMinor)
	default:
		r.Say("%s is left out: a socket", p)
		return nil
	}
	return r.tar.WriteHeader(h)
}

// addFolder writes a folder. What the kernel makes up (/proc and its like) is not
// part of the folder that it is mounted in.
func (r *reader) addFolder(p string, h *tar.Header) error {
	h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
	if err := r.tar.WriteHeader(h); err != nil {
		return err
	}
	mounted, err := r.filesystem(p)
	if isMissing(err) {
		return nil // it went meanwhile
	}
	if err != nil {
		return err
	}
	if mounted != r.start && madeUp(mounted) {
		return nil
	}
	names, err := r.list(p)
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", p, err)
	}
	for _, name := range names {
		child := path.Join(p, name)
		s, err := r.stat(child, false)
		if isMissing(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", child, err)
		}
		if err := r.add(child, path.Join(h.Name, name), s); err != nil {
			return err
		}
	}
	return nil
}

// madeUp reports whether the files of a file system are the kernel's words.
func madeUp(f *vfs.Filesystem) bool {
	return slices.Contains([]string{"proc", "sysfs", "dev", "devtmpfs", "devpts", "cgroup2", "mqueue"}, f.FilesystemType().Name())
}

// filesystem returns the file system that a path leads to.
func (t *Tree) filesystem(p string) (*vfs.Filesystem, error) {
	d, err := t.VFS.GetDentryAt(t.Ctx, t.Creds, t.op(p, false), &vfs.GetDentryOptions{})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p, err)
	}
	defer d.DecRef(t.Ctx)
	return d.Mount().Filesystem(), nil
}

// list returns the names in a folder, sorted.
func (t *Tree) list(p string) (names []string, err error) {
	fd, err := t.VFS.OpenAt(t.Ctx, t.Creds, t.op(p, false), &vfs.OpenOptions{Flags: linux.O_RDONLY | linux.O_DIRECTORY})
	if err != nil {
		return nil, err
	}
	defer fd.DecRef(t.Ctx)
	err = fd.IterDirents(t.Ctx, vfs.IterDirentsCallbackFunc(func(d vfs.Dirent) error {
		if d.Name != "." && d.Name != ".." {
			names = append(names, d.Name)
		}
		return nil
	}))
	slices.Sort(names)
	return names, err
}

// addFile writes a regular file, or that it is another name of one that was
// written.
func (r *reader) addFile(p string, h *tar.Header, s linux.Statx) error {
	h.Typeflag, h.Size = tar.TypeReg, int64(s.Size)
	if s.Nlink > 1 {
		id := inode{s.DevMajor, s.DevMinor, s.Ino}
		if first, ok := r.linked[id]; ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
			return r.tar.WriteHeader(h)
		}
		r.linked[id] = h.Name
	}
	fd, err := r.VFS.OpenAt(r.Ctx, r.Creds, r.op(p, false), &vfs.OpenOptions{Flags: linux.O_RDONLY | linux.O_NONBLOCK})
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", p, err)
	}
	defer fd.DecRef(r.Ctx)
	if h.Size == 0 {
		return r.addUnsized(p, h, fd)
	}
	if err := r.tar.WriteHeader(h); err != nil {
		return err
	}
	left := h.Size
	for left > 0 {
		n, err := r.read(fd, r.piece[:min(left, pieceSize)])
		if err == io.EOF || err == nil && n == 0 {
			break
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		if _, err := r.tar.Write(r.piece[:n]); err != nil {
			return err
		}
		left -= int64(n)
	}
	if left > 0 {
		// Its size is written already.
		return fmt.Errorf("%s became shorter while it was copied", p)
	}
	return nil
}

// mostUnsized bounds what is copied of a file that says that it has no size, as
// those of /proc do.
const mostUnsized = 1 << 20

// addUnsized writes a file that says that it is empty, with what can be read.
func (r *reader) addUnsized(p string, h *tar.Header, fd *vfs.FileDescription) error {
	var all []byte
	for len(all) < mostUnsized {
		n, err := r.read(fd, r.piece)
		if err == io.EOF || err == nil && n == 0 {
			break
		}
		if err != nil {
			r.Say("%s: only what could be read of it is copied: %v", p, err)
			break
		}
		all = append(all, r.piece[:n]...)
	}
	h.Size = int64(len(all))
	err := r.tar.WriteHeader(h)
	if err == nil && len(all) > 0 {
		_, err = r.tar.Write(all)
	}
	return err
}

// read reads a piece of a file.
func (r *reader) read(fd *vfs.FileDescription, b []byte) (int, error) {
	done, err := r.Room(fd, len(b), false)
	if err != nil {
		return 0, err
	}
	defer done()
	n, err := fd.Read(r.Ctx, usermem.BytesIOSequence(b), vfs.ReadOptions{})
	if n > 0 {
		err = nil
	}
	return int(n), err
}

// isMissing reports whether err says that there is no such file.
func isMissing(err error) bool {
	return errors.Is(err, linuxerr.ENOENT) || errors.Is(err, linuxerr.ENOTDIR)
}
