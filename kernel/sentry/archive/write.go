package archive

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
	"gvisor.dev/gvisor/pkg/usermem"
)

// Write unpacks an archive from r into folder dir, which is there. A file takes
// the place of one of its name; a folder is filled further; neither takes the
// other's place. owners keeps the archive's owners; else all is root's.
func (t *Tree) Write(dir string, owners bool, r io.Reader) error {
	if err := check(dir); err != nil {
		return err
	}
	state, err := t.Stat(dir)
	if err != nil {
		return err
	}
	if !state.Exists {
		return fmt.Errorf("there is no folder %s", dir)
	}
	if !state.Folder {
		return fmt.Errorf("%s is no folder", dir)
	}
	w := &writer{Tree: t, dir: dir, owners: owners, piece: make([]byte, pieceSize)}
	in := tar.NewReader(r)
	for {
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("the archive: %w", err)
		}
		if err := w.unpack(h, in); err != nil {
			return err
		}
	}
	if err := w.finishFolders(); err != nil {
		return err
	}
	// What is behind the archive's end belongs to it.
	_, err = io.Copy(io.Discard, r)
	return err
}

// writer unpacks one archive.
type writer struct {
	*Tree
	dir     string
	owners  bool
	folders []*tar.Header // whose times are set in the end, as what is made in them changes those
	piece   []byte
}

// path returns where an entry goes: inside of the folder, whatever its name is.
func (w *writer) path(name string) string { return path.Join(w.dir, path.Join("/", name)) }

// unpack makes one entry.
func (w *writer) unpack(h *tar.Header, r io.Reader) error {
	p := w.path(h.Name)
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	if p == path.Clean(w.dir) && h.Typeflag != tar.TypeDir {
		return fmt.Errorf("the archive: an entry %q that is no folder", h.Name)
	}
	if h.Typeflag == tar.TypeDir {
		return w.makeFolder(p, h)
	}
	if err := w.clear(p); err != nil {
		return err
	}
	err := w.make(p, h, r)
	if isMissing(err) {
		// An archive may leave out the folders of its files.
		if err := w.VFS.MkdirAllAt(w.Ctx, path.Dir(p), w.Root, w.Creds, &vfs.MkdirOptions{Mode: 0o755}, true); err != nil {
			return fmt.Errorf("%s: %w", path.Dir(p), err)
		}
		err = w.make(p, h, r)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", p, err)
	}
	if h.Typeflag == tar.TypeLink {
		return nil // it has what the other name has
	}
	return w.setAttributes(p, h)
}

// clear removes what is at a path, unless it is a folder.
func (w *writer) clear(p string) error {
	s, err := w.stat(p, false)
	switch {
	case isMissing(err):
		return nil
	case err == nil && kindOf(s) == linux.S_IFDIR:
		return fmt.Errorf("%s is a folder: no file can take its place", p)
	case err == nil:
		err = w.VFS.UnlinkAt(w.Ctx, w.Creds, w.op(p, false))
	}
	if err != nil && !isMissing(err) {
		return fmt.Errorf("%s: %w", p, err)
	}
	return nil
}

// make makes what is no folder, where nothing is.
func (w *writer) make(p string, h *tar.Header, r io.Reader) error {
	mode := linux.FileMode(h.Mode & 0o7777)
	op := w.op(p, false)
	switch h.Typeflag {
	case tar.TypeReg:
		return w.makeFile(p, h, r)
	case tar.TypeSymlink:
		return w.VFS.SymlinkAt(w.Ctx, w.Creds, op, h.Linkname)
	case tar.TypeLink:
		return w.VFS.LinkAt(w.Ctx, w.Creds, w.op(w.path(h.Linkname), false), op)
	case tar.TypeFifo:
		return w.VFS.MknodAt(w.Ctx, w.Creds, op, &vfs.MknodOptions{Mode: linux.S_IFIFO | mode})
	case tar.TypeChar, tar.TypeBlock:
		kind := linux.FileMode(linux.S_IFCHR)
		if h.Typeflag == tar.TypeBlock {
			kind = linux.S_IFBLK
		}
		return w.VFS.MknodAt(w.Ctx, w.Creds, op, &vfs.MknodOptions{Mode: kind | mode, DevMajor: uint32(h.Devmajor), DevMinor: uint32(h.Devminor)})
	}
	return fmt.Errorf("the archive has an entry of type %q, which is none that can be made", h.Typeflag)
}

// makeFile makes a regular file.
func (w *writer) makeFile(p string, h *tar.Header, r io.Reader) (err error) {
	fd, err := w.VFS.OpenAt(w.Ctx, w.Creds, w.op(p, false), &vfs.OpenOptions{
		Flags: linux.O_WRONLY | linux.O_CREAT | linux.O_EXCL, Mode: 0o600,
	})
	if err != nil {
		return err
	}
	defer fd.DecRef(w.Ctx)
	for left := h.Size; left > 0; {
		n, err := io.ReadFull(r, w.piece[:min(left, pieceSize)])
		if err != nil {
			return err
		}
		if err := w.write(fd, w.piece[:n]); err != nil {
			return err
		}
		left -= int64(n)
	}
	return nil
}

// write writes a piece to a file.
func (w *writer) write(fd *vfs.FileDescription, b []byte) error {
	done, err := w.Room(fd, len(b), true)
	if err != nil {
		return err
	}
	defer done()
	for len(b) > 0 {
		n, err := fd.Write(w.Ctx, usermem.BytesIOSequence(b), vfs.WriteOptions{})
		if n == 0 && err == nil {
			err = io.ErrShortWrite
		}
		if b = b[n:]; err != nil && len(b) > 0 {
			return err
		}
	}
	return nil
}

// makeFolder makes a folder, unless there is one.
func (w *writer) makeFolder(p string, h *tar.Header) error {
	s, err := w.stat(p, true)
	switch {
	case isMissing(err):
		if err := w.VFS.MkdirAllAt(w.Ctx, p, w.Root, w.Creds, &vfs.MkdirOptions{Mode: 0o755}, true); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	case err != nil:
		return fmt.Errorf("%s: %w", p, err)
	case kindOf(s) != linux.S_IFDIR:
		return fmt.Errorf("%s is no folder: none can take its place", p)
	case isRoot(h.Name):
		return nil // the folder itself stays as it is
	}
	w.folders = append(w.folders, h)
	return nil
}

// isRoot reports whether an entry is the folder that is unpacked into.
func isRoot(name string) bool { return strings.Trim(path.Join("/", name), "/") == "" }

// finishFolders gives folders what they have in the archive.
func (w *writer) finishFolders() error {
	for i := len(w.folders) - 1; i >= 0; i-- {
		h := w.folders[i]
		if err := w.setAttributes(w.path(h.Name), h); err != nil {
			return err
		}
	}
	return nil
}

// setAttributes sets owner, mode and time, in this order: a new owner takes the
// set-user-ID bit away.
func (w *writer) setAttributes(p string, h *tar.Header) error {
	link := h.Typeflag == tar.TypeSymlink
	set := func(s linux.Statx) error {
		err := w.VFS.SetStatAt(w.Ctx, w.Creds, w.op(p, !link), &vfs.SetStatOptions{Stat: s})
		if errors.Is(err, linuxerr.EOPNOTSUPP) && link {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		return nil
	}
	if w.owners {
		if err := set(linux.Statx{Mask: linux.STATX_UID | linux.STATX_GID, UID: uint32(h.Uid), GID: uint32(h.Gid)}); err != nil {
			return err
		}
	}
	if !link {
		if err := set(linux.Statx{Mask: linux.STATX_MODE, Mode: uint16(h.Mode & 0o7777)}); err != nil {
			return err
		}
	}
	time := linux.StatxTimestamp{Sec: h.ModTime.Unix(), Nsec: uint32(h.ModTime.Nanosecond())}
	return set(linux.Statx{Mask: linux.STATX_ATIME | linux.STATX_MTIME, Atime: time, Mtime: time})
}
