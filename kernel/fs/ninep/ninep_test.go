package ninep

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kiln/kernel/fs"
)

// mounted mounts a new server, and checks at the end that no fid is left.
func mounted(t *testing.T, o Options) (*FS, fs.Inode, *server) {
	t.Helper()
	s := newServer(t)
	o.Log = func(line string) { t.Log("log:", line) }
	if o.UID == 0 {
		o.UID, o.GID = uint32(os.Getuid()), uint32(os.Getgid())
	}
	f, err := Mount(s, o)
	if err != nil {
		t.Fatal(err)
	}
	root, err := f.Root()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		root.DecRef()
		if err := f.Unmount(); err != nil {
			t.Error(err)
		}
		if len(s.fids) != 0 || len(f.inodes) != 0 {
			t.Errorf("%d fids and %d inodes are left", len(s.fids), len(f.inodes))
		}
	})
	return f, root, s
}

func create(t *testing.T, dir fs.Inode, name string, mode uint32) fs.Inode {
	t.Helper()
	in, err := dir.Create(name, fs.New{Mode: mode})
	if err != nil {
		t.Fatalf("Create(%q): %v", name, err)
	}
	return in
}

func lookup(t *testing.T, dir fs.Inode, name string) fs.Inode {
	t.Helper()
	in, err := dir.Lookup(name)
	if err != nil {
		t.Fatalf("Lookup(%q): %v", name, err)
	}
	return in
}

func names(t *testing.T, dir fs.Inode, pos int64) (list []string) {
	t.Helper()
	if err := dir.ReadDir(pos, func(d fs.Dirent) bool { list = append(list, d.Name); return true }); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestContent(t *testing.T) {
	_, root, s := mounted(t, Options{})
	in := create(t, root, "file", syscall.S_IFREG|0o640)
	defer in.DecRef()
	want := make([]byte, 100_000) // many messages
	for i := range want {
		want[i] = byte(i * 7)
	}
	if n, err := in.WriteAt(want, 5); n != len(want) || err != nil {
		t.Fatalf("WriteAt = %d, %v", n, err)
	}
	if err := in.Sync(true); err != nil {
		t.Error(err)
	}
	host, err := os.ReadFile(filepath.Join(s.root, "file"))
	if err != nil || !bytes.Equal(host[5:], want) {
		t.Errorf("the host sees other content, %v", err)
	}
	got := make([]byte, len(want)+10)
	if n, err := in.ReadAt(got, 5); n != len(want) || err != io.EOF || !bytes.Equal(got[:n], want) {
		t.Errorf("ReadAt = %d, %v, or other content", n, err)
	}
	if err := in.Truncate(3); err != nil {
		t.Fatal(err)
	}
	a, err := in.Attr()
	if err != nil || a.Size != 3 || a.Mode != syscall.S_IFREG|0o640 || a.UID != 0 || a.GID != 0 || a.Nlink != 1 {
		t.Errorf("Attr = %+v, %v", a, err)
	}
	if s.calls[tfsync] != 1 {
		t.Errorf("%d fsyncs, want 1", s.calls[tfsync])
	}
}

func TestNames(t *testing.T) {
	_, root, _ := mounted(t, Options{})
	sub := create(t, root, "sub", syscall.S_IFDIR|0o755)
	defer sub.DecRef()
	create(t, sub, "a", syscall.S_IFREG|0o600).DecRef()
	create(t, sub, "fifo", syscall.S_IFIFO|0o600).DecRef()
	link, err := sub.Symlink("link", "../x", fs.New{})
	if err != nil {
		t.Fatal(err)
	}
	if target, err := link.Readlink(); target != "../x" || err != nil {
		t.Errorf("Readlink = %q, %v", target, err)
	}
	link.DecRef()
	a := lookup(t, sub, "a")
	defer a.DecRef()
	if err := root.Link("hard", a); err != nil {
		t.Fatal(err)
	}
	if again := lookup(t, root, "hard"); again != a {
		t.Error("two names of a file give two inodes")
	} else {
		again.DecRef()
	}
	if err := sub.Rename("a", root, "b", 0); err != nil {
		t.Fatal(err)
	}
	if got := names(t, sub, 0); !slices.Equal(got, []string{"fifo", "link"}) {
		t.Errorf("sub has %q", got)
	}
	if err := root.Rmdir("sub"); !errors.Is(err, syscall.ENOTEMPTY) {
		t.Errorf("Rmdir: %v, want ENOTEMPTY", err)
	}
	if _, err := root.Lookup("nothing"); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("Lookup: %v, want ENOENT", err)
	}
	if _, err := root.Lookup(strings.Repeat("n", 256)); err != syscall.ENAMETOOLONG {
		t.Errorf("Lookup of a long name: %v, want ENAMETOOLONG", err)
	}
	if err := root.Rename("b", sub, "c", fs.RenameExchange); err != syscall.EINVAL {
		t.Errorf("Rename with a flag: %v, want EINVAL", err)
	}
}

func TestReadDir(t *testing.T) {
	_, root, s := mounted(t, Options{})
	var want []string
	for i := range 500 { // several messages
		name := fmt.Sprintf("%03d-%s", i, strings.Repeat("x", 40))
		want = append(want, name)
		if err := os.WriteFile(filepath.Join(s.root, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := names(t, root, 0); !slices.Equal(got, want) {
		t.Errorf("%d names, want %d", len(got), len(want))
	}
	var got []string
	for pos, more := int64(0), true; more; {
		more = false
		if err := root.ReadDir(pos, func(d fs.Dirent) bool {
			got, pos, more = append(got, d.Name), d.Next, true
			return len(got)%7 != 0
		}); err != nil {
			t.Fatal(err)
		}
		if len(got) == len(want) {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("in parts: %d names, want %d", len(got), len(want))
	}
}

// A file that is in use keeps its content when it loses its name, though the
// server does not find it any more.
func TestUnlinkedFile(t *testing.T) {
	for _, replace := range []bool{false, true} {
		_, root, s := mounted(t, Options{})
		if err := os.WriteFile(filepath.Join(s.root, "old"), []byte("content"), 0o600); err != nil {
			t.Fatal(err)
		}
		in := lookup(t, root, "old")
		if replace {
			if err := os.WriteFile(filepath.Join(s.root, "new"), []byte("new content"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := root.Rename("new", root, "old", 0); err != nil {
				t.Fatal(err)
			}
		} else if err := root.Unlink("old"); err != nil {
			t.Fatal(err)
		}
		if _, err := in.WriteAt([]byte("more"), 7); err != nil {
			t.Errorf("WriteAt: %v", err)
		}
		got := make([]byte, 11)
		if _, err := in.ReadAt(got, 0); err != nil || string(got) != "contentmore" {
			t.Errorf("ReadAt: %q, %v", got, err)
		}
		if a, err := in.Attr(); err != nil || a.Nlink != 0 || a.Size != 11 {
			t.Errorf("Attr = %+v, %v", a, err)
		}
		if err := in.Truncate(1); err != syscall.ESTALE {
			t.Errorf("Truncate: %v, want ESTALE", err)
		}
		in.DecRef()
		if b, _ := os.ReadFile(filepath.Join(s.root, "old")); replace && string(b) != "new content" {
			t.Errorf("the new file has %q", b)
		}
	}
}

// A file keeps working under the name that is left.
func TestOtherNameUnlinked(t *testing.T) {
	_, root, _ := mounted(t, Options{})
	in := create(t, root, "one", syscall.S_IFREG|0o600)
	defer in.DecRef()
	if err := root.Link("two", in); err != nil {
		t.Fatal(err)
	}
	if err := root.Unlink("one"); err != nil {
		t.Fatal(err)
	}
	if _, err := in.ReadAt(make([]byte, 1), 0); err != io.EOF {
		t.Errorf("ReadAt: %v, want EOF", err)
	}
	lookup(t, root, "two").DecRef()
	mode := uint32(0o604)
	if err := in.SetAttr(fs.SetAttr{Mode: &mode}); err != nil {
		t.Error(err)
	}
	if a, err := in.Attr(); err != nil || a.Nlink != 1 || a.Mode&0o777 != mode {
		t.Errorf("Attr = %+v, %v", a, err)
	}
}

func TestTimesAndOwner(t *testing.T) {
	_, root, _ := mounted(t, Options{})
	in := create(t, root, "file", syscall.S_IFREG|0o600)
	defer in.DecRef()
	when := time.Unix(1_000_000_000, 123_456_789)
	zero := uint32(0)
	if err := in.SetAttr(fs.SetAttr{Mtime: &when, UID: &zero, GID: &zero}); err != nil {
		t.Fatal(err)
	}
	if a, err := in.Attr(); err != nil || !a.Mtime.Equal(when) || a.UID != 0 || a.Atime.Equal(when) {
		t.Errorf("Attr = %+v, %v", a, err)
	}
}

// Root stands for whom the server runs as, whatever that number is.
func TestOwnersAreTranslated(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("changing owners takes root")
	}
	_, root, s := mounted(t, Options{UID: 1234, GID: 2345})
	path := filepath.Join(s.root, "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	in := lookup(t, root, "file")
	defer in.DecRef()
	zero := uint32(0)
	if err := in.SetAttr(fs.SetAttr{UID: &zero, GID: &zero}); err != nil {
		t.Fatal(err)
	}
	var st syscall.Stat_t
	if err := syscall.Lstat(path, &st); err != nil || st.Uid != 1234 || st.Gid != 2345 {
		t.Errorf("on the server the owner is %d:%d, %v; want 1234:2345", st.Uid, st.Gid, err)
	}
	if a, err := in.Attr(); err != nil || a.UID != 0 || a.GID != 0 {
		t.Errorf("Attr = %+v, %v; want root", a, err)
	}
}

func TestXattr(t *testing.T) {
	_, root, s := mounted(t, Options{})
	in := create(t, root, "file", syscall.S_IFREG|0o600)
	defer in.DecRef()
	value := bytes.Repeat([]byte("v"), 3000)
	if err := in.Setxattr("user.one", value, 0); errors.Is(err, syscall.EOPNOTSUPP) {
		t.Skip("no extended attributes in ", s.root)
	} else if err != nil {
		t.Fatal(err)
	}
	if err := in.Setxattr("user.one", value, fs.XattrCreate); !errors.Is(err, syscall.EEXIST) {
		t.Errorf("Setxattr: %v, want EEXIST", err)
	}
	if got, err := in.Getxattr("user.one"); err != nil || !bytes.Equal(got, value) {
		t.Errorf("Getxattr = %d bytes, %v", len(got), err)
	}
	if got, err := in.Listxattr(); err != nil || !slices.Contains(got, "user.one") {
		t.Errorf("Listxattr = %q, %v", got, err)
	}
	if err := in.Removexattr("user.one"); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Getxattr("user.one"); !errors.Is(err, syscall.ENODATA) {
		t.Errorf("Getxattr: %v, want ENODATA", err)
	}
}

func TestReadOnly(t *testing.T) {
	f, root, s := mounted(t, Options{ReadOnly: true})
	if err := os.WriteFile(filepath.Join(s.root, "file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if !f.ReadOnly() {
		t.Error("not read-only")
	}
	in := lookup(t, root, "file")
	defer in.DecRef()
	for what, err := range map[string]error{
		"Unlink": root.Unlink("file"), "Truncate": in.Truncate(0), "Setxattr": in.Setxattr("user.a", []byte("b"), 0),
		"Symlink": func() error { _, err := root.Symlink("l", "x", fs.New{}); return err }(),
	} {
		if err != syscall.EROFS {
			t.Errorf("%s: %v, want EROFS", what, err)
		}
	}
	if _, err := in.WriteAt([]byte("y"), 0); err != syscall.EROFS {
		t.Errorf("WriteAt: %v, want EROFS", err)
	}
}

func TestStatfsAndSync(t *testing.T) {
	f, root, s := mounted(t, Options{})
	if st, err := f.Statfs(); err != nil || st.BlockSize == 0 || st.Magic != magic || st.NameLen != 255 {
		t.Errorf("Statfs = %+v, %v", st, err)
	}
	in := create(t, root, "file", syscall.S_IFREG|0o600)
	defer in.DecRef()
	if _, err := in.WriteAt([]byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.calls[tfsync]; n != 1 {
		t.Errorf("%d fsyncs, want 1: the second time there is nothing to write", n)
	}
}

func TestConcurrent(t *testing.T) {
	_, root, _ := mounted(t, Options{})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 50 {
				name := fmt.Sprintf("f%d", (g+i)%4)
				in, err := root.Lookup(name)
				if errors.Is(err, syscall.ENOENT) {
					in, err = root.Create(name, fs.New{Mode: syscall.S_IFREG | 0o600})
				}
				if errors.Is(err, syscall.EEXIST) || errors.Is(err, syscall.ENOENT) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := in.WriteAt([]byte(name), 0); err != nil && !errors.Is(err, syscall.ENOENT) {
					t.Error(err)
				}
				if i%5 == 0 {
					if err := root.Unlink(name); err != nil && !errors.Is(err, syscall.ENOENT) {
						t.Error(err)
					}
				}
				in.DecRef()
			}
		})
	}
	wg.Wait()
}

func TestBadReplies(t *testing.T) {
	for name, change := range map[string]func([]byte) []byte{
		"short":        func(b []byte) []byte { return b[:5] },
		"other size":   func(b []byte) []byte { b[0]++; return b },
		"other tag":    func(b []byte) []byte { b[5]++; return b },
		"other type":   func(b []byte) []byte { b[4] ^= 0x40; return b },
		"ends early":   func(b []byte) []byte { b = b[:9]; b[0] = 9; return b },
		"empty error":  func(b []byte) []byte { return []byte{7, 0, 0, 0, rlerror, b[5], b[6]} },
		"error zero":   func(b []byte) []byte { return []byte{11, 0, 0, 0, rlerror, b[5], b[6], 0, 0, 0, 0} },
		"wrong type":   func(b []byte) []byte { b[headerSize+8+qidSize+1] = 0x80; return b },
		"size too big": func(b []byte) []byte { binary.LittleEndian.PutUint64(b[headerSize+8+qidSize+4+8+16:], 1<<63); return b },
	} {
		t.Run(name, func(t *testing.T) {
			_, root, s := mounted(t, Options{})
			s.reply = change
			if a, err := root.Attr(); !errors.Is(err, syscall.EIO) {
				t.Errorf("Attr = %+v, %v; want EIO", a, err)
			}
			s.reply = nil
		})
	}
}

// liar answers each request with the next bytes of a script, in a proper
// frame if they do not make one themselves.
type liar struct {
	script []byte
	rounds int
}

func (l *liar) MaxMessage() int { return 8192 }

func (l *liar) RoundTrip(request, answer [][]byte) (int, error) {
	if l.rounds++; l.rounds > 300 || len(l.script) == 0 {
		return 0, syscall.EIO
	}
	head := request[0]
	n := min(int(l.script[0]), len(l.script)-1)
	b := append(body{}.u32(uint32(headerSize+n)).u8(head[4]+1).u16(binary.LittleEndian.Uint16(head[5:])), l.script[1:1+n]...)
	l.script = l.script[1+n:]
	if n%16 == 15 { // now and then a frame that is wrong
		b[n%7] ^= b[headerSize]
	}
	n = len(b)
	for _, part := range answer {
		b = b[copy(part, b):]
	}
	return n - len(b), nil
}

// FuzzReplies lets a server say anything.
func FuzzReplies(f *testing.F) {
	part := func(b body) []byte { return append([]byte{byte(len(b))}, b...) }
	dir := body{}.u8(qidDirectory).u32(0).u64(1)
	attach := append(part(body{}.u32(8192).str(version)), part(dir)...)
	entry := append(body{}.u8(0).u32(0).u64(2), body{}.u64(1).u8(8).str("name")...)
	f.Add(attach)
	f.Add(slices.Concat(attach, part(body{}.u16(0)), part(append(dir.u32(0), 0)), part(append(body{}.u32(uint32(len(entry))), entry...))))
	f.Fuzz(func(t *testing.T, script []byte) {
		m, err := Mount(&liar{script: script}, Options{})
		if err != nil {
			return
		}
		root, err := m.Root()
		if err != nil {
			return
		}
		// All that counts is that each call comes back.
		_, _ = root.Attr()
		_, _ = m.Statfs()
		_ = root.ReadDir(0, func(d fs.Dirent) bool {
			if !validName(d.Name) || d.Next == 0 {
				t.Errorf("entry %+v", d)
			}
			return true
		})
		_, _ = root.Listxattr()
		if in, err := root.Lookup("x"); err == nil {
			buf := make([]byte, 20_000)
			if n, err := in.ReadAt(buf, 0); n < 0 || n > len(buf) || n < len(buf) && err == nil {
				t.Errorf("ReadAt = %d, %v", n, err)
			}
			_, _ = in.WriteAt(buf, 0)
			_, _ = in.Readlink()
			in.DecRef()
		}
		root.DecRef()
	})
}
