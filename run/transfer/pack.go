// Package transfer is the host's end of copies to and from a guest: trees of files
// to and from the tar streams that the guest reads and writes (docs/image.md), and
// the rules of which name a copy gets, which are docker cp's.
//
// What comes from a guest is hostile. It is unpacked below one name that the user
// chose, and nowhere else.
package transfer

import (
	"archive/tar"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"syscall"
)

// Pack writes an archive of source, a file or a folder with all that is in it,
// named as name. follow follows source if it is a link. say is told of what is
// left out.
func Pack(w io.Writer, source, name string, follow bool, say func(string)) error {
	p := &packer{tar: tar.NewWriter(w), linked: map[inode]string{}, say: say}
	stat := os.Lstat
	if follow {
		stat = os.Stat
	}
	info, err := stat(source)
	if err != nil {
		return err
	}
	if err := p.add(source, name, info); err != nil {
		return err
	}
	return p.tar.Close()
}

// inode is a file, whatever names it has.
type inode struct{ device, number uint64 }

// packer writes one archive.
type packer struct {
	tar    *tar.Writer
	linked map[inode]string // files with several names: the first that was written
	say    func(string)
}

// add writes what is at path file, which is info, and what is in it.
func (p *packer) add(file, name string, info fs.FileInfo) error {
	if info.Mode().Type() == fs.ModeSocket {
		p.say(file + " is left out: a socket")
		return nil
	}
	target := ""
	if info.Mode().Type() == fs.ModeSymlink {
		var err error
		if target, err = os.Readlink(file); err != nil {
			return err
		}
	}
	h, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return err
	}
	h.Name, h.Format = name, tar.FormatPAX
	h.Uname, h.Gname = "", "" // the guest has names of its own
	switch {
	case info.IsDir():
		h.Name += "/"
		if err := p.tar.WriteHeader(h); err != nil {
			return err
		}
		return p.addEntries(file, name)
	case info.Mode().IsRegular():
		return p.addFile(file, h, info)
	}
	return p.tar.WriteHeader(h)
}

// addEntries writes what is in a folder.
func (p *packer) addEntries(folder, name string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if os.IsNotExist(err) {
			continue // it went meanwhile
		}
		if err == nil {
			err = p.add(filepath.Join(folder, e.Name()), path.Join(name, e.Name()), info)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// addFile writes a regular file, or that it is another name of one that was
// written.
func (p *packer) addFile(file string, h *tar.Header, info fs.FileInfo) error {
	if s, ok := info.Sys().(*syscall.Stat_t); ok && s.Nlink > 1 {
		id := inode{uint64(s.Dev), s.Ino}
		if first, ok := p.linked[id]; ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
			return p.tar.WriteHeader(h)
		}
		p.linked[id] = h.Name
	}
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := p.tar.WriteHeader(h); err != nil {
		return err
	}
	n, err := io.Copy(p.tar, io.LimitReader(f, h.Size))
	if err == nil && n < h.Size {
		err = fmt.Errorf("%s became shorter while it was copied", file)
	}
	return err
}
