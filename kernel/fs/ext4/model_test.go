package ext4

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"kiln/kernel/fs"
)

// A node is a file of the model: what a file system should have.
type node struct {
	mode     uint32
	data     []byte
	target   string
	children map[string]*node
	links    int
	xattrs   map[string][]byte
}

// A model is a file system with a model of it, on which the same operations
// are done.
type model struct {
	t     testing.TB
	f     *FS
	r     *rand.Rand
	root  *node
	names []string
	limit int // of file sizes, bytes
	// full says that operations may fail for lack of space.
	full bool
}

func newModel(t testing.TB, f *FS, seed uint64) *model {
	return &model{
		t: t, f: f, r: rand.New(rand.NewPCG(seed, 1)), limit: 300_000,
		root: &node{mode: 0x4000, children: map[string]*node{}, links: 2},
	}
}

// dir is a directory of the model with its inode.
type dir struct {
	n  *node
	in fs.Inode
}

func (m *model) must(err error) {
	if err != nil {
		m.t.Helper()
		m.t.Fatal(err)
	}
}

// randomDir walks to a directory.
func (m *model) randomDir() dir {
	in, err := m.f.Root()
	m.must(err)
	d := dir{m.root, in}
	for m.r.IntN(3) > 0 {
		name, c := m.pick(d.n, func(c *node) bool { return c.children != nil })
		if c == nil {
			break
		}
		sub, err := d.in.Lookup(name)
		m.must(err)
		d.in.DecRef()
		d = dir{c, sub}
	}
	return d
}

// pick returns a random child that fits.
func (m *model) pick(n *node, fits func(*node) bool) (string, *node) {
	var names []string
	for name, c := range n.children {
		if fits(c) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "", nil
	}
	slices.Sort(names)
	name := names[m.r.IntN(len(names))]
	return name, n.children[name]
}

func isFile(c *node) bool { return c.mode == 0x8000 }

func (m *model) name() string {
	n := fmt.Sprintf("f%d", m.r.IntN(400))
	if m.r.IntN(4) == 0 {
		n += strings.Repeat("x", m.r.IntN(240))
	}
	return n
}

func (m *model) bytes(n int) []byte {
	b := make([]byte, n)
	for i := 0; i < n; i += 8 {
		v := m.r.Uint64()
		for j := i; j < min(n, i+8); j++ {
			b[j] = byte(v >> (8 * (j - i)))
		}
	}
	return b
}

// step does one random operation on both sides.
func (m *model) step() {
	m.t.Helper()
	ops := []func(dir){
		m.create, m.create, m.create, m.mkdir, m.symlink, m.link, m.unlink, m.rmdir, m.rename, m.rename,
		m.write, m.write, m.write, m.write, m.write, m.truncate, m.fallocate, m.fallocate, m.read, m.setxattr, m.chmod, m.lookup,
	}
	d := m.randomDir()
	ops[m.r.IntN(len(ops))](d)
	d.in.DecRef()
}

// want fails the test unless err is the errno, 0 for none.
func (m *model) want(what string, err error, errno syscall.Errno) bool {
	m.t.Helper()
	if m.full && errno == 0 && errors.Is(err, syscall.ENOSPC) {
		return false
	}
	if errno == 0 && err != nil || errno != 0 && !errors.Is(err, errno) {
		m.t.Fatalf("%s: got %v, want %v", what, err, errno)
	}
	return err == nil
}

func (m *model) add(d dir, mode uint32, n *node, make func(name string) (fs.Inode, error)) {
	name := m.name()
	errno := syscall.Errno(0)
	if d.n.children[name] != nil {
		errno = syscall.EEXIST
	}
	in, err := make(name)
	if m.want("create "+name, err, errno) {
		n.mode = mode
		d.n.children[name] = n
		in.DecRef()
	}
}

func (m *model) create(d dir) {
	n := &node{links: 1}
	m.add(d, 0x8000, n, func(name string) (fs.Inode, error) {
		return d.in.Create(name, fs.New{Mode: syscall.S_IFREG | 0o644})
	})
}

func (m *model) mkdir(d dir) {
	n := &node{links: 2, children: map[string]*node{}}
	m.add(d, 0x4000, n, func(name string) (fs.Inode, error) {
		return d.in.Create(name, fs.New{Mode: syscall.S_IFDIR | 0o755})
	})
}

func (m *model) symlink(d dir) {
	n := &node{links: 1, target: strings.Repeat("t", 1+m.r.IntN(200))}
	m.add(d, 0xa000, n, func(name string) (fs.Inode, error) {
		return d.in.Symlink(name, n.target, fs.New{})
	})
}

func (m *model) link(d dir) {
	from, c := m.pick(d.n, func(c *node) bool { return c.children == nil })
	if c == nil {
		return
	}
	in, err := d.in.Lookup(from)
	m.must(err)
	defer in.DecRef()
	to := m.name()
	errno := syscall.Errno(0)
	if d.n.children[to] != nil {
		errno = syscall.EEXIST
	}
	if m.want("link "+to, d.in.Link(to, in), errno) {
		c.links++
		d.n.children[to] = c
	}
}

func (m *model) unlink(d dir) {
	name, c := m.pick(d.n, func(*node) bool { return true })
	if c == nil {
		return
	}
	if c.children != nil {
		m.want("unlink "+name, d.in.Unlink(name), syscall.EISDIR)
		return
	}
	m.want("unlink "+name, d.in.Unlink(name), 0)
	c.links--
	delete(d.n.children, name)
}

func (m *model) rmdir(d dir) {
	name, c := m.pick(d.n, func(c *node) bool { return c.children != nil })
	if c == nil {
		return
	}
	if len(c.children) > 0 {
		m.want("rmdir "+name, d.in.Rmdir(name), syscall.ENOTEMPTY)
		return
	}
	m.want("rmdir "+name, d.in.Rmdir(name), 0)
	delete(d.n.children, name)
}

// below reports whether n is in or below d.
func below(d, n *node) bool {
	if d == n {
		return true
	}
	for _, c := range d.children {
		if c.children != nil && below(c, n) {
			return true
		}
	}
	return false
}

func (m *model) rename(d dir) {
	to := m.randomDir()
	defer to.in.DecRef()
	oldName, c := m.pick(d.n, func(c *node) bool { return c.children == nil || !below(c, to.n) })
	if c == nil {
		return
	}
	newName := m.name()
	if other, v := m.pick(to.n, func(*node) bool { return true }); v != nil && m.r.IntN(2) == 0 {
		newName = other
	}
	v := to.n.children[newName]
	flags, errno := uint32(0), syscall.Errno(0)
	if m.r.IntN(4) == 0 {
		flags = fs.RenameExchange
		if v == nil {
			errno = syscall.ENOENT
		} else if v.children != nil && below(v, d.n) {
			return
		}
	} else if v != nil && v != c {
		switch {
		case c.children != nil && v.children == nil:
			errno = syscall.ENOTDIR
		case c.children == nil && v.children != nil:
			errno = syscall.EISDIR
		case len(v.children) > 0:
			errno = syscall.ENOTEMPTY
		}
	}
	if !m.want("rename "+oldName+" "+newName, d.in.Rename(oldName, to.in, newName, flags), errno) || v == c {
		return
	}
	if flags == fs.RenameExchange {
		d.n.children[oldName], to.n.children[newName] = v, c
		return
	}
	if v != nil {
		v.links--
	}
	delete(d.n.children, oldName)
	to.n.children[newName] = c
}

// file calls do with a random file.
func (m *model) file(d dir, do func(c *node, in fs.Inode)) {
	name, c := m.pick(d.n, isFile)
	if c == nil {
		return
	}
	in, err := d.in.Lookup(name)
	m.must(err)
	defer in.DecRef()
	do(c, in)
}

func (c *node) resize(size int) {
	if size <= len(c.data) {
		c.data = c.data[:size:size]
	} else {
		c.data = append(c.data, make([]byte, size-len(c.data))...)
	}
}

func (m *model) write(d dir) {
	m.file(d, func(c *node, in fs.Inode) {
		p := m.bytes(1 + m.r.IntN([]int{100, 5000, 60_000}[m.r.IntN(3)]))
		off := len(c.data)
		if m.r.IntN(2) == 0 {
			off = m.r.IntN(m.limit)
		}
		if m.r.IntN(3) == 0 {
			off = off / 4096 * 4096
		}
		if m.r.IntN(3) == 0 {
			err := in.Reserve(int64(off), int64(len(p)))
			if !m.want("reserve", err, 0) {
				return
			}
		}
		n, err := in.WriteAt(p, int64(off))
		m.want("write", err, 0)
		if n == 0 {
			return
		}
		if !m.full && n != len(p) {
			m.t.Fatalf("WriteAt wrote %d bytes of %d", n, len(p))
		}
		if off+n > len(c.data) {
			c.resize(off + n)
		}
		copy(c.data[off:], p[:n])
	})
}

func (m *model) truncate(d dir) {
	m.file(d, func(c *node, in fs.Inode) {
		size := m.r.IntN(m.limit)
		if m.r.IntN(2) == 0 {
			size = m.r.IntN(len(c.data) + 1)
		}
		m.want("truncate", in.Truncate(int64(size)), 0)
		c.resize(size)
	})
}

func (m *model) fallocate(d dir) {
	m.file(d, func(c *node, in fs.Inode) {
		off, length := m.r.IntN(m.limit), 1+m.r.IntN(60_000)
		mode := []uint32{0, fs.FallocKeepSize, fs.FallocPunchHole | fs.FallocKeepSize, fs.FallocZeroRange, fs.FallocZeroRange | fs.FallocKeepSize}[m.r.IntN(5)]
		err := in.Fallocate(mode, int64(off), int64(length))
		if !m.f.sb.extents() && mode&fs.FallocPunchHole == 0 {
			m.want("fallocate", err, syscall.EOPNOTSUPP)
			return
		}
		if !m.want("fallocate", err, 0) {
			a, err := in.Attr()
			m.must(err)
			if mode&fs.FallocKeepSize == 0 { // it may have got some way
				c.resize(int(a.Size))
			}
			if mode&(fs.FallocPunchHole|fs.FallocZeroRange) == 0 {
				return
			}
			got := make([]byte, len(c.data))
			_, _ = in.ReadAt(got, 0)
			c.data = got
			return
		}
		if mode&fs.FallocKeepSize == 0 && off+length > len(c.data) {
			c.resize(off + length)
		}
		if mode&(fs.FallocPunchHole|fs.FallocZeroRange) != 0 {
			for i := off; i < min(off+length, len(c.data)); i++ {
				c.data[i] = 0
			}
		}
	})
}

func (m *model) read(d dir) {
	m.file(d, func(c *node, in fs.Inode) {
		off := m.r.IntN(len(c.data) + 1)
		p := make([]byte, 1+m.r.IntN(100_000))
		n, err := in.ReadAt(p, int64(off))
		if err != nil && err != io.EOF {
			m.t.Fatal(err)
		}
		if want := c.data[off:min(len(c.data), off+len(p))]; !bytes.Equal(p[:n], want) {
			m.t.Fatalf("read of %d bytes at %d gives %d bytes, want %d, or they differ", len(p), off, n, len(want))
		}
	})
}

func (m *model) setxattr(d dir) {
	m.file(d, func(c *node, in fs.Inode) {
		if c.xattrs == nil {
			c.xattrs = map[string][]byte{}
		}
		name := []string{"user.a", "user.bb", "trusted.c", "security.capability", "user." + strings.Repeat("n", 200)}[m.r.IntN(5)]
		if _, ok := c.xattrs[name]; ok && m.r.IntN(3) == 0 {
			m.want("removexattr", in.Removexattr(name), 0)
			delete(c.xattrs, name)
			return
		}
		v := m.bytes(m.r.IntN([]int{10, 60, 250}[m.r.IntN(3)]))
		err := in.Setxattr(name, v, 0)
		if errors.Is(err, syscall.ENOSPC) {
			return // the block of attributes is full
		}
		if m.want("setxattr", err, 0) {
			c.xattrs[name] = v
		}
	})
}

func (m *model) chmod(d dir) {
	m.file(d, func(c *node, in fs.Inode) {
		mode := m.r.Uint32() & 0o777
		m.must(in.SetAttr(fs.SetAttr{Mode: &mode}))
		a, err := in.Attr()
		m.must(err)
		if a.Mode != 0x8000|mode {
			m.t.Fatalf("mode %#o, want %#o", a.Mode, mode)
		}
	})
}

func (m *model) lookup(d dir) {
	name := m.name()
	in, err := d.in.Lookup(name)
	if d.n.children[name] == nil {
		m.want("lookup", err, syscall.ENOENT)
		return
	}
	m.must(err)
	in.DecRef()
}

// compare checks that the file system has what the model has.
func (m *model) compare() {
	m.t.Helper()
	root, err := m.f.Root()
	m.must(err)
	m.compareDir("", m.root, root)
	root.DecRef()
}

func (m *model) compareDir(path string, n *node, in fs.Inode) {
	m.t.Helper()
	seen := 0
	for _, e := range listDir(m.t, in) {
		c := n.children[e.Name]
		if c == nil {
			if path+e.Name != "lost+found" {
				m.t.Fatalf("%s%s is there, but should not", path, e.Name)
			}
			continue
		}
		seen++
		sub, err := in.Lookup(e.Name)
		m.must(err)
		m.compareNode(path+e.Name, c, sub)
		sub.DecRef()
	}
	if seen != len(n.children) {
		m.t.Fatalf("directory %q has %d entries, want %d", path, seen, len(n.children))
	}
}

func (m *model) compareNode(path string, c *node, in fs.Inode) {
	m.t.Helper()
	a, err := in.Attr()
	m.must(err)
	if a.Mode&0xf000 != c.mode {
		m.t.Fatalf("%s: mode %#o, want type %#o", path, a.Mode, c.mode)
	}
	if c.children == nil && int(a.Nlink) != c.links {
		m.t.Fatalf("%s: %d links, want %d", path, a.Nlink, c.links)
	}
	switch c.mode {
	case 0x4000:
		m.compareDir(path+"/", c, in)
	case 0xa000:
		target, err := in.Readlink()
		if m.must(err); target != c.target {
			m.t.Fatalf("%s: target %q, want %q", path, target, c.target)
		}
	case 0x8000:
		got := make([]byte, len(c.data)+1)
		n, err := in.ReadAt(got, 0)
		if err != io.EOF || !bytes.Equal(got[:n], c.data) {
			m.t.Fatalf("%s: content of %d bytes differs from %d, %v", path, n, len(c.data), err)
		}
		names, err := in.Listxattr()
		if m.must(err); len(names) != len(c.xattrs) {
			m.t.Fatalf("%s: attributes %q, want %d", path, names, len(c.xattrs))
		}
		for name, want := range c.xattrs {
			v, err := in.Getxattr(name)
			if err != nil || !bytes.Equal(v, want) {
				m.t.Fatalf("%s: attribute %s: %d bytes, %v, want %d", path, name, len(v), err, len(want))
			}
		}
	}
}

// clear removes everything.
func (m *model) clear() {
	root, err := m.f.Root()
	m.must(err)
	m.removeAll(root)
	root.DecRef()
	m.root.children = map[string]*node{}
}

func (m *model) removeAll(in fs.Inode) {
	for _, e := range listDir(m.t, in) {
		if e.Name == "lost+found" {
			continue
		}
		if e.Type != syscall.DT_DIR {
			m.must(in.Unlink(e.Name))
			continue
		}
		sub, err := in.Lookup(e.Name)
		m.must(err)
		m.removeAll(sub)
		sub.DecRef()
		m.must(in.Rmdir(e.Name))
	}
}
