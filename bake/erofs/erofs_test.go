package erofs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	reader "github.com/erofs/go-erofs"
)

// A file is what a test puts at a path, and wants to read there.
type file struct {
	mode     fs.FileMode // type and permissions
	data     string      // content, or a symbolic link's target
	mtime    int64
	uid, gid uint32
}

func dir() file                  { return file{mode: fs.ModeDir | 0o755} }
func regular(data string) file   { return file{mode: 0o644, data: data} }
func symlink(target string) file { return file{mode: fs.ModeSymlink | 0o777, data: target} }

// bytesOf returns n bytes that differ from block to block.
func bytesOf(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i) ^ byte(i>>8)*7 | 1
	}
	return string(b)
}

// content opens data, as Create wants it.
func content(data string) Content {
	return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(data)), nil }
}

// tree builds a Tree of files, in the order of their paths.
func tree(t testing.TB, files map[string]file, paths []string) *Tree {
	t.Helper()
	tr := New()
	for _, p := range paths {
		f := files[p]
		var err error
		switch {
		case f.mode.IsDir():
			err = tr.Mkdir(p, f.mode)
		case f.mode&fs.ModeSymlink != 0:
			err = tr.Symlink(p, f.data)
		default:
			err = tr.Create(p, f.mode, f.mtime, int64(len(f.data)), content(f.data))
		}
		if err == nil && f.uid|f.gid != 0 {
			err = tr.Chown(p, f.uid, f.gid)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return tr
}

// pathsOf returns the paths of files in order.
func pathsOf(files map[string]file) []string {
	var out []string
	for p := range files {
		out = append(out, p)
	}
	slices.Sort(out)
	return out
}

// image returns the file system of tr.
func image(t testing.TB, tr *Tree) []byte {
	t.Helper()
	p, err := tr.Plan()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if n, err := p.WriteTo(&b); err != nil || n != p.Size() || int64(b.Len()) != n {
		t.Fatalf("WriteTo = %d, %v, wrote %d, planned %d", n, err, b.Len(), p.Size())
	}
	if b.Len()%BlockSize != 0 {
		t.Errorf("the image has %d bytes, want whole blocks", b.Len())
	}
	return b.Bytes()
}

// check reads the image b with a reader that others wrote, and compares it
// with files: all of them, and nothing else.
func check(t testing.TB, b []byte, files map[string]file) {
	t.Helper()
	fsys, err := reader.Open(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	err = fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		abs := "/" + strings.TrimPrefix(p, ".")
		seen[abs] = true
		want, ok := files[abs]
		if !ok {
			want = dir() // made for what is in it
		}
		return checkOne(t, fsys, b, p, d, want)
	})
	if err != nil {
		t.Error(err)
	}
	for p := range files {
		if !seen[p] {
			t.Errorf("%s is not in the image", short(p))
		}
	}
}

// short returns a path for a message.
func short(p string) string {
	if len(p) > 40 {
		return fmt.Sprintf("%s… (%d bytes)", p[:40], len(p))
	}
	return p
}

// checkOne compares the file at p with what was written.
func checkOne(t testing.TB, fsys fs.FS, b []byte, p string, d fs.DirEntry, want file) error {
	t.Helper()
	info, err := d.Info()
	if err != nil {
		return err
	}
	// The reader's Mode has the permissions' raw bits, its Stat Go's own.
	st := info.Sys().(*reader.Stat)
	if st.Mode != want.mode || d.Type() != want.mode.Type() {
		t.Errorf("%s: mode %v, in the directory %v, want %v", short(p), st.Mode, d.Type(), want.mode)
	}
	if st.UID != want.uid || st.GID != want.gid || int64(st.Mtime) != want.mtime {
		t.Errorf("%s: owner %d:%d, time %d, want %d:%d, %d", short(p), st.UID, st.GID, st.Mtime, want.uid, want.gid, want.mtime)
	}
	var got []byte
	switch {
	case want.mode.IsDir():
		return nil
	case want.mode&fs.ModeSymlink != 0:
		target, err := fs.ReadLink(fsys, p)
		if err != nil {
			return err
		}
		got = []byte(target)
	default:
		if got, err = fs.ReadFile(fsys, p); err != nil {
			return err
		}
		checkMappable(t, b, p, info.(interface{ DataRange() []reader.DataRange }).DataRange(), want.data)
	}
	if string(got) != want.data {
		t.Errorf("%s: %d bytes %.20q…, want %d bytes %.20q…", short(p), len(got), got, len(want.data), want.data)
	}
	return nil
}

// checkMappable checks that a regular file's data is whole pages of the image,
// as the guest maps them: on a block boundary, in one piece, filled up with
// zeros.
func checkMappable(t testing.TB, b []byte, p string, ranges []reader.DataRange, data string) {
	t.Helper()
	if data == "" {
		return
	}
	if len(ranges) != 1 || ranges[0].Offset%BlockSize != 0 {
		t.Errorf("%s: its data lies at %+v, want one piece on a block boundary", short(p), ranges)
		return
	}
	start := ranges[0].Offset
	end := roundUp(start+int64(len(data)), BlockSize)
	if tail := b[start+int64(len(data)) : end]; len(bytes.Trim(tail, "\x00")) != 0 {
		t.Errorf("%s: its last page is not filled up with zeros", short(p))
	}
}

// names returns directory entries whose heads and names fill exactly size
// bytes beside those of dot and dot-dot, the longest names first.
func names(size int) map[string]file {
	const long = direntSize + maxName
	out := map[string]file{}
	left := size - (2*direntSize + len("...")) // dot and dot-dot
	for i := 0; left > 0; i++ {
		n := min(left, long)
		if rest := left - n; rest > 0 && rest < direntSize+5 {
			n -= direntSize + 5 // leave the last entry room for its name
		}
		out["/d/"+fmt.Sprintf("%04d", i)+strings.Repeat("x", n-direntSize-4)] = regular("")
		left -= n
	}
	return out
}

// trees are the file systems of the tests, by what is hard about them.
func trees() map[string]map[string]file {
	all := map[string]map[string]file{
		"empty":     {},
		"one":       {"/hello": regular("hello\n")},
		"deep":      {"/" + strings.Repeat("d/", 200) + "f": regular("x")},
		"long name": {"/" + strings.Repeat("n", maxName): regular("x"), "/" + strings.Repeat("n", maxName-1): regular("y")},
		"kinds": {
			"/": {mode: fs.ModeDir | 0o711}, "/empty": regular(""), "/bin": dir(), "/bin/tool": {mode: fs.ModeSetuid | 0o755, data: "x"},
			"/tmp": {mode: fs.ModeDir | fs.ModeSticky | 0o777}, "/bin/group": {mode: fs.ModeSetgid | 0o750, data: "y"},
			"/none": {mode: 0, data: "secret"}, "/link": symlink("bin/tool"), "/dangling": symlink("/no/where"),
			"/Ünïcode and blanks\n": regular("z"),
		},
		"owners and times": {
			"/": {mode: fs.ModeDir | 0o755, uid: 3, gid: 4}, "/small": {mode: 0o644, data: "s", uid: 65535, gid: 65535},
			"/large": {mode: 0o644, data: "l", uid: 65536, gid: 1}, "/group": {mode: 0o644, gid: 1 << 31},
			"/dated": {mode: 0o644, data: "d", mtime: 1_700_000_000}, "/future": {mode: 0o644, mtime: 1 << 33},
			"/dir": {mode: fs.ModeDir | 0o755, uid: 70000, gid: 70000}, "/dir/link": {mode: fs.ModeSymlink | 0o777, data: "x", uid: 1 << 20},
		},
	}
	sizes := map[string]file{}
	for _, n := range []int{0, 1, 31, 32, 4063, 4064, 4095, 4096, 4097, 8191, 8192, 8193, 1 << 20} {
		sizes[fmt.Sprintf("/file%d", n)] = regular(bytesOf(n))
	}
	all["sizes at borders"] = sizes
	links := map[string]file{}
	for _, n := range []int{1, 31, 32, 33, 2015, 4032, 4063, 4064, 4065, 4095} {
		links[fmt.Sprintf("/link%d", n)] = symlink(strings.Repeat("l", n))
		links[fmt.Sprintf("/owned%d", n)] = file{mode: fs.ModeSymlink | 0o777, data: strings.Repeat("o", n), uid: 1 << 17}
	}
	all["links at borders"] = links
	// Directories that end just before, at and after the end of a block, and
	// of what fits behind an inode of either size.
	for _, n := range []int{64, 4030, 4031, 4032, 4033, 4063, 4064, 4065, 4095, 4096, 4097, 8192, 8193} {
		all[fmt.Sprintf("directory of %d bytes", n)] = names(n)
	}
	many := map[string]file{}
	for i := range 5000 {
		many[fmt.Sprintf("/many/%d", i)] = regular(fmt.Sprint(i))
		many[fmt.Sprintf("/many/dir%d", i%700)] = dir()
	}
	all["many entries"] = many
	return all
}

// TestReadBack writes file systems and reads them with another's reader.
func TestReadBack(t *testing.T) {
	for name, files := range trees() {
		t.Run(name, func(t *testing.T) {
			check(t, image(t, tree(t, files, pathsOf(files))), files)
		})
	}
}

// TestDirectorySizes checks that the tests' directories are as hard as they
// are meant to be.
func TestDirectorySizes(t *testing.T) {
	for _, n := range []int{64, 4031, 4096} {
		files := names(n)
		tr := tree(t, files, pathsOf(files))
		if got := direntBytes(tr.root.children["d"]); got != int64(n) {
			t.Errorf("names(%d) fill %d bytes", n, got)
		}
	}
}

// TestManyLinks has a directory with more subdirectories than 16 bits count.
func TestManyLinks(t *testing.T) {
	tr := New()
	const n = 65_536
	for i := range n {
		if err := tr.Mkdir(fmt.Sprintf("/d/%d", i), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	fsys, err := reader.Open(bytes.NewReader(image(t, tr)))
	if err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]int{".": 3, "d": n + 2, "d/4711": 2} {
		info, err := fs.Stat(fsys, p)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Sys().(*reader.Stat).Nlink; got != want {
			t.Errorf("%s has %d links, want %d", p, got, want)
		}
	}
}

// TestDeterministic writes one tree made in many orders.
func TestDeterministic(t *testing.T) {
	files := trees()["kinds"]
	for p, f := range trees()["many entries"] {
		files[p] = f
	}
	paths := pathsOf(files)
	want := image(t, tree(t, files, paths))
	r := rand.New(rand.NewPCG(1, 2))
	for range 5 {
		r.Shuffle(len(paths), func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
		if got := image(t, tree(t, files, paths)); !bytes.Equal(got, want) {
			t.Fatal("the same tree, made in another order, gives other bytes")
		}
	}
	tr := tree(t, files, paths)
	if first := image(t, tr); !bytes.Equal(first, image(t, tr)) {
		t.Error("a tree written twice gives other bytes")
	}
}

// TestRandomTrees reads random trees back.
func TestRandomTrees(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 7))
		files := map[string]file{}
		dirs := []string{""}
		for range r.IntN(120) {
			p := dirs[r.IntN(len(dirs))] + "/" + strings.Repeat(string(rune('a'+r.IntN(26))), 1+r.IntN(maxName))
			if _, ok := files[p]; ok {
				continue
			}
			switch r.IntN(4) {
			case 0:
				files[p] = dir()
				dirs = append(dirs, p)
			case 1:
				files[p] = symlink(strings.Repeat("t", 1+r.IntN(BlockSize-1)))
			default:
				f := regular(bytesOf(r.IntN(3 * BlockSize)))
				f.uid, f.mtime = uint32(r.IntN(2)*70000), int64(r.IntN(2)*99)
				files[p] = f
			}
		}
		check(t, image(t, tree(t, files, pathsOf(files))), files)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func TestRefusals(t *testing.T) {
	for name, f := range map[string]func(*Tree) error{
		"relative":          func(tr *Tree) error { return tr.Mkdir("a", 0o755) },
		"not clean":         func(tr *Tree) error { return tr.Mkdir("/a/../b", 0o755) },
		"trailing slash":    func(tr *Tree) error { return tr.Create("/a/", 0o644, 0, 0, content("")) },
		"empty":             func(tr *Tree) error { return tr.Create("", 0o644, 0, 0, content("")) },
		"the root":          func(tr *Tree) error { return tr.Create("/", 0o644, 0, 0, content("")) },
		"a link at root":    func(tr *Tree) error { return tr.Symlink("/", "x") },
		"twice":             func(tr *Tree) error { return tr.Create("/file", 0o644, 0, 0, content("")) },
		"directory on file": func(tr *Tree) error { return tr.Mkdir("/file", 0o755) },
		"link on directory": func(tr *Tree) error { return tr.Symlink("/dir", "x") },
		"below a file":      func(tr *Tree) error { return tr.Create("/file/x", 0o644, 0, 0, content("")) },
		"below a link":      func(tr *Tree) error { return tr.Mkdir("/link/x", 0o755) },
		"long name":         func(tr *Tree) error { return tr.Mkdir("/"+strings.Repeat("n", maxName+1), 0o755) },
		"long parent":       func(tr *Tree) error { return tr.Mkdir("/"+strings.Repeat("n", maxName+1)+"/x", 0o755) },
		"empty link":        func(tr *Tree) error { return tr.Symlink("/new", "") },
		"long link":         func(tr *Tree) error { return tr.Symlink("/new", strings.Repeat("t", BlockSize)) },
		"nobody's":          func(tr *Tree) error { return tr.Chown("/none", 1, 1) },
	} {
		files := map[string]file{"/file": regular("f"), "/dir": dir(), "/link": symlink("dir")}
		tr := tree(t, files, pathsOf(files))
		if err := f(tr); err == nil || !strings.HasPrefix(err.Error(), "erofs: ") {
			t.Errorf("%s: %v, want an error", name, err)
		}
		check(t, image(t, tr), files) // nothing came of it
	}
}

// TestMkdirAgain changes the mode of a directory, as bake does to one that was
// made for what is in it.
func TestMkdirAgain(t *testing.T) {
	files := map[string]file{"/a/b": regular("x"), "/a": {mode: fs.ModeDir | 0o700}}
	check(t, image(t, tree(t, files, []string{"/a/b", "/a"})), files)
}

func TestTooLarge(t *testing.T) {
	tr := New()
	if err := tr.Create("/huge", 0o644, 0, BlockSize<<32, nil); err != nil {
		t.Fatal(err)
	}
	if err := tr.Create("/next", 0o644, 0, 1, nil); err != nil {
		t.Fatal(err)
	}
	if p, err := tr.Plan(); err == nil {
		t.Errorf("Plan gave an image of %d bytes, want an error: blocks have 32-bit addresses", p.Size())
	}
}

// TestContentErrors writes files that are not what was said, or not readable.
func TestContentErrors(t *testing.T) {
	broken := errors.New("broken")
	closed := 0
	reads := func(r io.Reader) Content {
		return func() (io.ReadCloser, error) { return closer{r, &closed}, nil }
	}
	for name, tt := range map[string]struct {
		content Content
		want    string
	}{
		"grew":      {reads(strings.NewReader("123456")), "size"},
		"shrank":    {reads(strings.NewReader("1234")), "size"},
		"open":      {func() (io.ReadCloser, error) { return nil, broken }, "broken"},
		"read":      {reads(iotest.ErrReader(broken)), "broken"},
		"read late": {reads(io.MultiReader(strings.NewReader("12"), iotest.ErrReader(broken))), "broken"},
	} {
		tr := New()
		if err := tr.Create("/file", 0o644, 0, 5, tt.content); err != nil {
			t.Fatal(err)
		}
		p, err := tr.Plan()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.WriteTo(io.Discard); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: WriteTo = %v, want an error with %q", name, err, tt.want)
		}
	}
	if closed != 4 {
		t.Errorf("%d of 4 files were closed", closed)
	}
}

type closer struct {
	io.Reader
	n *int
}

func (c closer) Close() error { *c.n++; return nil }

// TestWriteErrors writes to a disk that fills up, at every stage.
func TestWriteErrors(t *testing.T) {
	files := map[string]file{"/file": regular(bytesOf(5 << 20)), "/d/a": regular("x")}
	tr := tree(t, files, pathsOf(files))
	p, err := tr.Plan()
	if err != nil {
		t.Fatal(err)
	}
	for _, room := range []int64{0, 1, BlockSize, 3 << 20, p.Size() - 1} {
		w := &limited{left: room}
		if _, err := p.WriteTo(w); !errors.Is(err, errFull) {
			t.Errorf("with room for %d of %d bytes: WriteTo = %v, want %v", room, p.Size(), err, errFull)
		}
	}
}

var errFull = errors.New("no space left")

// limited is a writer with room for some bytes.
type limited struct{ left int64 }

func (l *limited) Write(b []byte) (int, error) {
	n := min(int64(len(b)), l.left)
	l.left -= n
	if n < int64(len(b)) {
		return int(n), errFull
	}
	return int(n), nil
}
