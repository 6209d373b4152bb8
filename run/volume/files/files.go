// Package files reads what is in a disk image, without a machine and without
// root: its directories, its files, and copies of them.
//
// The file systems are the guest's own (kernel/fs). They get the image as a
// snapshot: a journal that has to be replayed is replayed in memory, and the
// image is never written to. Nor does a machine write to it meanwhile, or the
// image would not be opened. What is in it is not trusted.
package files

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"strings"
	"syscall"

	"kiln/kernel/fs"
	"kiln/kernel/fs/block"
	"kiln/kernel/fs/ext4"
	"kiln/kernel/fs/iso9660"
	"kiln/run/volume"
)

// An Image is an image whose file system is mounted.
type Image struct {
	name string // for messages
	f    *os.File
	fs   fs.Filesystem
	log  func(line string)
}

// qcow2 begins an image of that format of QEMU's.
const qcow2 = "QFI\xfb"

// Open mounts the file system in the image at path, which messages call name.
// log hears of damage, and of what is left out, a line at a time. The caller
// closes the image.
func Open(path, name string, log func(line string)) (_ *Image, err error) {
	f, err := os.Open(path)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil, &volume.Error{Msg: fmt.Sprintf("there is no file %s", path)}
	} else if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if st, err := f.Stat(); err != nil {
		return nil, err
	} else if !st.Mode().IsRegular() && st.Mode().Type() != iofs.ModeDevice {
		return nil, &volume.Error{Msg: fmt.Sprintf("%s is neither a file nor a block device", path)}
	}
	if free, err := volume.HoldStill(f); err != nil {
		return nil, err
	} else if !free {
		return nil, &volume.Error{Msg: fmt.Sprintf("%s is in use by a machine", name), Hint: "end that one first"}
	}
	dev, err := newSnapshot(f)
	if err != nil {
		return nil, err
	}
	m := &Image{name: name, f: f, log: log}
	if m.fs, err = mount(dev, log); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if m.fs == nil {
		return nil, unknown(f, name)
	}
	return m, nil
}

// mount returns nil if there is no file system that Kiln knows.
func mount(dev block.Device, log func(string)) (fs.Filesystem, error) {
	switch {
	case ext4.Probe(dev):
		return asFilesystem(ext4.Mount(dev, ext4.Options{ReadOnly: true, Log: log}))
	case iso9660.Probe(dev):
		return asFilesystem(iso9660.Mount(dev, iso9660.Options{Log: log}))
	}
	return nil, nil
}

// asFilesystem keeps a nil pointer from becoming an interface that is not nil.
func asFilesystem[T fs.Filesystem](f T, err error) (fs.Filesystem, error) {
	if err != nil {
		return nil, err
	}
	return f, nil
}

// unknown says why an image cannot be read.
func unknown(f *os.File, name string) error {
	begin := make([]byte, len(qcow2))
	if _, err := f.ReadAt(begin, 0); err == nil && string(begin) == qcow2 {
		return &volume.Error{Msg: name + " is a qcow2 image, which only machines read", Hint: "qemu-img convert -O raw makes another one of it"}
	}
	return &volume.Error{Msg: name + " has no file system that Kiln knows", Hint: "it knows ext2, ext3, ext4 and ISO 9660"}
}

// Close closes the image.
func (m *Image) Close() error { return m.f.Close() }

// maxLinks is how many symbolic links a path may lead through, as on Linux.
const maxLinks = 40

// find returns the inode that path leads to, with a reference. Symbolic links
// are followed, a last one if follow says so, and stay inside of the image.
func (m *Image) find(path string, follow bool) (fs.Inode, error) {
	root, err := m.fs.Root()
	if err != nil {
		return nil, m.failed(path, err)
	}
	way := []fs.Inode{root}
	cut := func(n int) {
		for _, in := range way[n:] {
			in.DecRef()
		}
		way = way[:n]
	}
	todo, links := strings.Split(path, "/"), 0
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		switch name {
		case "", ".":
			continue
		case "..":
			cut(max(1, len(way)-1))
			continue
		}
		next, target, err := step(way[len(way)-1], name, follow || len(todo) > 0)
		if err == nil && target != "" {
			if links++; links > maxLinks {
				err = syscall.ELOOP
			}
			if strings.HasPrefix(target, "/") {
				cut(1)
			}
			todo = append(strings.Split(target, "/"), todo...)
		}
		if err != nil {
			cut(0)
			return nil, m.failed(path, err)
		}
		if next != nil {
			way = append(way, next)
		}
	}
	found := way[len(way)-1]
	found.IncRef()
	cut(0)
	return found, nil
}

// step looks up a name in a directory. It returns the inode with a reference,
// or the target of a symbolic link that is to be followed.
func step(dir fs.Inode, name string, follow bool) (fs.Inode, string, error) {
	in, err := dir.Lookup(name)
	if err != nil {
		return nil, "", err
	}
	a, err := in.Attr()
	if err == nil && !(follow && a.Mode&syscall.S_IFMT == syscall.S_IFLNK) {
		return in, "", nil
	}
	defer in.DecRef()
	if err != nil {
		return nil, "", err
	}
	target, err := in.Readlink()
	if err == nil && target == "" {
		err = syscall.ENOENT
	}
	return nil, target, err
}

// failed says which path of the image err is about. What the user can do
// something about is an Error.
func (m *Image) failed(path string, err error) error {
	msg := fmt.Sprintf("%s:%s", m.name, Text(path))
	errno, _ := errors.AsType[syscall.Errno](err)
	switch errno {
	case syscall.ENOENT, syscall.ENOTDIR, syscall.ELOOP, syscall.ENAMETOOLONG, syscall.EISDIR:
		return &volume.Error{Msg: msg + ": " + errno.Error()}
	}
	return fmt.Errorf("%s: %w", msg, err)
}
