// Command treesum prints a hash over a tree of files: names, types, modes,
// sizes, times of change, numbers of links, targets, extended attributes and
// content. Before that, it removes what else is named, inside of the tree.
//
//	treesum DIRECTORY [NAME…]
//
// It runs on Kiln, on Linux in a guest and on the host, and prints the same for
// the same tree. Owners, and the size, links and times of directories, are the
// file system's business. So is lost+found.
package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"hash/crc64"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: treesum DIRECTORY [NAME…]")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "treesum:", err)
		os.Exit(1)
	}
}

func run(dir string, remove []string, out io.Writer) error {
	for _, name := range remove {
		path := filepath.Join(dir, name)
		if _, err := os.Lstat(path); err != nil {
			return err // which RemoveAll would not mind
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	s, entries := newSum(), 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || name == "." {
			return err
		}
		if name == "lost+found" {
			return fs.SkipDir
		}
		entries++
		return s.add(path, name)
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "sum of %d entries: %x\n", entries, s.Sum(nil))
	return err
}

const block = 4096 // bytes

// A sum is the hash, with what reading needs.
type sum struct {
	hash.Hash
	crc   hash.Hash64 // of a file's content: quicker than SHA-256 where QEMU translates
	buf   []byte      // of content
	zero  []byte      // a block
	list  []byte      // of attributes' names; 64 KB is the most that Linux returns
	value []byte      // of an attribute; the same
}

func newSum() *sum {
	return &sum{
		Hash: sha256.New(), crc: crc64.New(crc64.MakeTable(crc64.ECMA)),
		buf: make([]byte, 256*block), zero: make([]byte, block), list: make([]byte, 64<<10), value: make([]byte, 64<<10),
	}
}

// add hashes one entry.
func (s *sum) add(path, name string) error {
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil {
		return &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	fmt.Fprintf(s, "%q %o", name, st.Mode)
	switch st.Mode & syscall.S_IFMT {
	case syscall.S_IFDIR:
	case syscall.S_IFLNK:
		target, err := os.Readlink(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(s, " %q", target)
		return nil
	default:
		fmt.Fprintf(s, " %d %d %d.%09d", st.Nlink, st.Size, st.Mtim.Sec, st.Mtim.Nsec)
	}
	if err := s.addAttributes(path); err != nil {
		return &fs.PathError{Op: "extended attributes", Path: path, Err: err}
	}
	if st.Mode&syscall.S_IFMT == syscall.S_IFREG {
		return s.addContent(path)
	}
	return nil
}

// addAttributes hashes those that users set.
func (s *sum) addAttributes(path string) error {
	n, err := syscall.Listxattr(path, s.list)
	if errors.Is(err, syscall.ENOTSUP) {
		return nil
	} else if err != nil {
		return err
	}
	names := strings.Split(string(s.list[:n]), "\x00")
	slices.Sort(names)
	for _, name := range names {
		if !strings.HasPrefix(name, "user.") {
			continue
		}
		n, err := syscall.Getxattr(path, name, s.value)
		if err != nil {
			return err
		}
		fmt.Fprintf(s, " %s=%x", name, s.value[:n])
	}
	return nil
}

// seekData is lseek's SEEK_DATA (Linux 3.1).
const seekData = 3

// addContent hashes the blocks of a file that are not zero, with their places:
// so a hole is the same as zeros, and need not be read.
func (s *sum) addContent(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	s.crc.Reset()
	defer func() { fmt.Fprintf(s, " %x", s.crc.Sum64()) }()
	for off := int64(0); ; {
		off, err = f.Seek(off, seekData)
		if errors.Is(err, syscall.ENXIO) { // there is none
			return nil
		} else if err != nil {
			return err
		}
		off -= off % block
		n, err := f.ReadAt(s.buf, off)
		if err != nil && err != io.EOF {
			return err
		}
		for b := range slices.Chunk(s.buf[:n], block) {
			if !bytes.Equal(b, s.zero[:len(b)]) {
				fmt.Fprintf(s.crc, "%d ", off)
				s.crc.Write(b)
			}
			off += int64(len(b))
		}
		if err == io.EOF {
			return nil
		}
	}
}
