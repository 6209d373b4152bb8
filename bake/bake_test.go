package bake

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/erofs/go-erofs"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"kiln/bake/oci/ocitest"
	"kiln/image"
	"kiln/image/bootinfo"
	"kiln/image/imagetest"
)

// needComponents skips the test in a tree where build.sh has not run.
func needComponents(t *testing.T) {
	t.Helper()
	if _, err := components.ReadFile("components/metal.zst"); err != nil {
		t.Skipf("no image can be baked before build.sh has run: %v", err)
	}
}

// mustBake bakes o and reads the image.
func mustBake(t *testing.T, o Options) *image.Image {
	t.Helper()
	needComponents(t)
	m, err := Bake(o)
	if err != nil {
		t.Fatal(err)
	}
	img, err := image.Open(o.Output)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(img.Manifest, *m) {
		t.Errorf("the image's manifest is %+v, Bake returned %+v", img.Manifest, *m)
	}
	return img
}

// rootOf opens the root file system of an image.
func rootOf(t *testing.T, p string, img *image.Image) fs.FS {
	t.Helper()
	f, err := os.Open(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	r := img.Header.RootFS
	fsys, err := erofs.Open(io.NewSectionReader(f, fileOffset(r.Addr), int64(r.Size)))
	if err != nil {
		t.Fatal(err)
	}
	return fsys
}

// TestBake bakes a program with all that can be said about it.
func TestBake(t *testing.T) {
	dir := t.TempDir()
	app := elfFile{}.write(t, filepath.Join(dir, "app"))
	other := elfFile{entry: 1}.write(t, filepath.Join(dir, "other"))
	write(t, dir, map[string]string{"conf": "key = value\n"})
	out := filepath.Join(dir, "out.img")
	img := mustBake(t, Options{
		Program: app, Others: []string{other}, Output: out, Config: "hw-virtio", Add: []string{filepath.Join(dir, "conf") + ":/etc/conf"},
		Args: []string{"-v", "a b"}, Env: []string{"A=1", "B="}, Cwd: "/tmp", Hostname: "oven", Memory: 77,
		Network: []image.Network{{IPv4: "dhcp", IPv6: "none"}}, Ports: []string{"8080:80"},
	})
	m := img.Manifest
	want := image.Manifest{
		Version: image.ManifestVersion, Config: "hw_virtio", Program: app, Programs: []string{app, other},
		Args: []string{app, "-v", "a b"}, Env: []string{"A=1", "B="}, Cwd: "/tmp", Hostname: "oven", Memory: 77,
		Network: []image.Network{{IPv4: "dhcp", IPv6: "none"}}, Ports: []string{"8080:80"}, Files: m.Files,
	}
	if !reflect.DeepEqual(m, want) {
		t.Errorf("the manifest is %+v, want %+v", m, want)
	}
	fsys := rootOf(t, out, img)
	for p, want := range map[string]string{"etc/conf": "key = value\n", "etc/hostname": "oven\n", app[1:]: string(elfFile{}.bytes())} {
		if got, err := fs.ReadFile(fsys, p); err != nil || string(got) != want {
			t.Errorf("%s is %.30q, %v, want %.30q", p, got, err, want)
		}
	}
	sources := map[string]string{}
	for _, f := range m.Files {
		sources[f.Path] = f.Source
		if f.Link != "" {
			continue
		}
		b, err := fs.ReadFile(fsys, f.Path[1:])
		if err != nil || fmt.Sprintf("%x", sha256.Sum256(b)) != f.SHA256 || int64(len(b)) != f.Size {
			t.Errorf("%s: %d bytes, %v, want what the list of files says: %+v", f.Path, len(b), err, f)
		}
	}
	if sources[app] != "program" || sources["/etc/conf"] != "added" || sources["/etc/passwd"] != "base" {
		t.Errorf("the files' sources are %v", sources)
	}
	checkDocumentedParts(t, img)
}

// checkDocumentedParts compares the image's segments with the table in
// docs/image.md.
func checkDocumentedParts(t *testing.T, img *image.Image) {
	t.Helper()
	documented := map[string]string{}
	for _, row := range imagetest.Table(t, "Sections name the parts") {
		for _, name := range strings.Split(row[1], ",") {
			documented[strings.Trim(name, " `")] = row[2]
		}
	}
	for _, s := range img.Segments {
		flags := []byte("---")
		for i, f := range []uint64{bootinfo.SegmentRead, bootinfo.SegmentWrite, bootinfo.SegmentExec} {
			if s.Flags&f != 0 {
				flags[i] = "rwx"[i]
			}
		}
		want, ok := documented[s.Name]
		if !ok || want != string(flags) && want != "as linked" {
			t.Errorf("segment %q has flags %s, docs/image.md says %q (%v)", s.Name, flags, want, ok)
		}
	}
}

// TestBakeReproducible bakes the same inputs under other circumstances: with an
// epoch, files of another time are the same, too.
func TestBakeReproducible(t *testing.T) {
	needComponents(t)
	var want []byte
	epoch := time.Unix(9e8, 0)
	for i, name := range []string{"first", "again", "umask", "folder", "zone", "later"} {
		dir := t.TempDir()
		app := elfFile{}.write(t, filepath.Join(dir, "app"))
		write(t, dir, map[string]string{"tree/b/c": "1", "tree/a": "2", "tree/d": "3"})
		o := Options{
			Program: app, Output: filepath.Join(dir, name+".img"), Env: []string{"X=1"}, Epoch: &epoch,
			Add: []string{app + ":/app", filepath.Join(dir, "tree") + ":/tree"},
		}
		// The program has another path each time: it is added at one.
		umask := 0o022
		o.Root, o.Program = filepath.Join(dir, "root"), "/bin/app"
		elfFile{}.write(t, filepath.Join(dir, "root/bin/app"))
		switch name {
		case "umask":
			umask = 0o077
		case "folder":
			t.Chdir(dir)
			o.Output, o.Root, o.Add = "x.img", "root", []string{"app:/app", "./tree/:/tree"}
		case "zone":
			t.Setenv("TZ", "Asia/Kathmandu")
			t.Setenv("LANG", "de_DE.UTF-8")
		case "later":
			for _, p := range []string{"app", "tree/a", "root/bin/app", "tree"} {
				if err := os.Chtimes(filepath.Join(dir, p), time.Unix(1e9, 0), time.Unix(1e9, 0)); err != nil {
					t.Fatal(err)
				}
			}
		}
		before := syscall.Umask(umask)
		_, err := Bake(o)
		syscall.Umask(before)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := os.ReadFile(o.Output)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			want = got
		}
		if !bytes.Equal(got, want) {
			at := 0
			for at < min(len(got), len(want)) && got[at] == want[at] {
				at++
			}
			t.Errorf("%s: the image differs from the first at byte %#x of %#x", name, at, len(want))
		}
	}
}

// TestBakeReplaces bakes to a file that exists: who has it open keeps what it
// was, and its permissions are not the temporary file's.
func TestBakeReplaces(t *testing.T) {
	dir := t.TempDir()
	app := elfFile{}.write(t, filepath.Join(dir, "app"))
	out := filepath.Join(dir, "out.img")
	write(t, dir, map[string]string{"out.img": "old"})
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	mustBake(t, Options{Program: app, Output: out})
	if old, err := io.ReadAll(f); err != nil || string(old) != "old" {
		t.Errorf("the open file has %.20q, %v, want what it had", old, err)
	}
	if st, err := os.Stat(out); err != nil || st.Mode() != 0o644 {
		t.Errorf("the image: %v, %v, want mode 0644", st, err)
	}
	checkLeft(t, dir, "app", "out.img")
}

// checkLeft checks that there is nothing else in dir.
func checkLeft(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("in the folder are %q, want %q", got, want)
	}
}

// TestBakeFails lets baking fail early and late: the output is as it was.
func TestBakeFails(t *testing.T) {
	needComponents(t)
	for name, tt := range map[string]struct {
		late func(dir string) error // when all is planned
		add  string
		want string
	}{
		"file missing":   {nil, "none", "none"},
		"file shrinks":   {func(dir string) error { return os.Truncate(filepath.Join(dir, "data"), 2) }, "data", "data"},
		"file grows":     {func(dir string) error { return os.Truncate(filepath.Join(dir, "data"), 1<<20) }, "data", "data"},
		"file vanishes":  {func(dir string) error { return os.Remove(filepath.Join(dir, "data")) }, "data", "data"},
		"too much":       {nil, "huge", "add fewer files"},
		"folder missing": {func(dir string) error { return os.RemoveAll(dir) }, "data", "cannot write the output"},
	} {
		dir := t.TempDir()
		app := elfFile{}.write(t, filepath.Join(dir, "in/app"))
		work := filepath.Join(dir, "work")
		write(t, work, map[string]string{"data": "12345", "huge": "", "out.img": "old"})
		if err := os.Truncate(filepath.Join(work, "huge"), 2<<30); err != nil {
			t.Fatal(err)
		}
		_, err := Bake(Options{
			Program: app, Output: filepath.Join(work, "out.img"), Add: []string{filepath.Join(work, tt.add) + ":/x"},
			Progress: func(s string) {
				if strings.HasPrefix(s, "writing ") && tt.late != nil {
					if err := tt.late(work); err != nil {
						t.Error(err)
					}
				}
			},
		})
		if !isInputError(err) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an input error with %q", name, err, tt.want)
		}
		if name == "folder missing" {
			continue
		}
		if b, err := os.ReadFile(filepath.Join(work, "out.img")); err != nil || string(b) != "old" {
			t.Errorf("%s: the output has %.20q, %v, want what it had", name, b, err)
		}
		left, err := filepath.Glob(filepath.Join(work, ".*"))
		if err != nil || len(left) > 0 {
			t.Errorf("%s: left behind: %q, %v", name, left, err)
		}
	}
}

// TestBadOptions gives Bake what makes no sense.
func TestBadOptions(t *testing.T) {
	dir := t.TempDir()
	app := elfFile{}.write(t, filepath.Join(dir, "app"))
	write(t, dir, map[string]string{"file": "x", "text": "no program\n"})
	elfFile{machine: 183}.write(t, filepath.Join(dir, "arm"))
	elfFile{typ: 3, soname: "libx.so"}.write(t, filepath.Join(dir, "lib"))
	elfFile{typ: 1}.write(t, filepath.Join(dir, "obj"))
	out := filepath.Join(dir, "out.img")
	at := func(p string) string { return filepath.Join(dir, p) }
	for name, tt := range map[string]struct {
		o    Options
		want string
	}{
		"nothing":             {Options{}, "no program named"},
		"no program":          {Options{Program: at("none")}, "none"},
		"a folder":            {Options{Program: dir}, "not a file"},
		"text":                {Options{Program: at("text")}, "neither an ELF file nor a script"},
		"for ARM":             {Options{Program: at("arm")}, "aarch64"},
		"a library":           {Options{Program: at("lib")}, "shared library"},
		"an object file":      {Options{Program: at("obj")}, "object file"},
		"another program":     {Options{Program: app, Others: []string{at("arm")}}, "aarch64"},
		"config":              {Options{Program: app, Config: "sel4"}, "sel4: no such configuration"},
		"itself":              {Options{Program: app, Output: app}, "would replace the program"},
		"itself by a link":    {Options{Program: app, Output: dir + "/./app"}, "would replace the program"},
		"output is a folder":  {Options{Program: app, Output: dir}, "not a regular file"},
		"output in no folder": {Options{Program: app, Output: at("none/out.img")}, "cannot write the output"},
		"output in a file":    {Options{Program: app, Output: at("file/out.img")}, "cannot write the output"},
		"relative folder":     {Options{Program: app, Cwd: "tmp"}, "must be absolute"},
		"memory":              {Options{Program: app, Memory: -1}, "memory of -1 MB"},
		"variable":            {Options{Program: app, Env: []string{"A"}}, "KEY=VALUE"},
		"nameless variable":   {Options{Program: app, Env: []string{"=1"}}, "KEY=VALUE"},
		"NUL in an argument":  {Options{Program: app, Args: []string{"a\x00b"}}, "NUL"},
		"NUL in a variable":   {Options{Program: app, Env: []string{"A=\x00"}}, "NUL"},
		"host name":           {Options{Program: app, Hostname: "a\nb"}, "host name"},
		"add nothing":         {Options{Program: app, Add: []string{""}}, "HOSTPATH"},
		"add to nowhere":      {Options{Program: app, Add: []string{at("file") + ":rel"}}, "absolute GUESTPATH"},
		"add what is not":     {Options{Program: app, Add: []string{at("none")}}, "none"},
		"add in a mount":      {Options{Program: app, Add: []string{at("file") + ":/dev/x"}}, "mounts a file system there"},
		"file that is not":    {Options{Program: app, Files: []string{at("none")}}, "none"},
		"kernel and program":  {Options{Program: app, Kernel: app}, "no program or files"},
		"kernel and files":    {Options{Kernel: app, Add: []string{at("file")}}, "no program or files"},
		"kernel that is none": {Options{Kernel: at("text")}, "not an ELF file"},
		"kernel for Linux":    {Options{Kernel: app}, "0 load segments"},
		"no kernel":           {Options{Kernel: at("none")}, "none"},
	} {
		o := tt.o
		if o.Output == "" {
			o.Output = out
		}
		if o.Kernel != "" {
			needComponents(t)
		}
		m, err := Bake(o)
		if !isInputError(err) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %+v, %v, want an input error with %q", name, m, err, tt.want)
		}
	}
	checkLeft(t, dir, "app", "arm", "file", "lib", "obj", "text")
}

// TestBakeImage gives bake an image for a program.
func TestBakeImage(t *testing.T) {
	dir := t.TempDir()
	app := elfFile{}.write(t, filepath.Join(dir, "app"))
	out := filepath.Join(dir, "out.img")
	mustBake(t, Options{Program: app, Output: out})
	if _, err := Bake(Options{Program: out, Output: filepath.Join(dir, "next.img")}); !isInputError(err) || !strings.Contains(err.Error(), "is an image already") {
		t.Errorf("an image of an image: %v, want an input error", err)
	}
}

// TestDefaultOutput checks how an image is called that nobody names.
func TestDefaultOutput(t *testing.T) {
	for _, tt := range []struct {
		o    Options
		want string
	}{
		{Options{Program: "/usr/bin/tool"}, "tool.img"},
		{Options{Program: "dir/a.out"}, "a.out.img"},
		{Options{Kernel: "k"}, "k.img"},
	} {
		o := tt.o
		if err := o.complete(); err != nil || o.Output != tt.want || o.Config != image.DefaultConfig {
			t.Errorf("%+v: output %q, configuration %q, %v, want %q", tt.o, o.Output, o.Config, err, tt.want)
		}
	}
}

// TestBakeKernel bakes a kernel program: metal and it, without a root.
func TestBakeKernel(t *testing.T) {
	dir := t.TempDir()
	kernel := kernelFile().write(t, filepath.Join(dir, "kernel"))
	img := mustBake(t, Options{Kernel: kernel, Output: filepath.Join(dir, "k.img"), Args: []string{"-test.v"}, Env: []string{"A=1"}})
	h := img.Header
	if h.RootFS.Size != 0 || len(img.Files) != 0 {
		t.Errorf("the root file system is %#x, with %d files, want none", h.RootFS, len(img.Files))
	}
	if h.KernelEntry != bootinfo.KernelBase+0x1000 || h.SegmentCount != 3 {
		t.Errorf("entry %#x, %d segments", h.KernelEntry, h.SegmentCount)
	}
	b, err := os.ReadFile(filepath.Join(dir, "k.img"))
	if err != nil {
		t.Fatal(err)
	}
	for r, want := range map[bootinfo.Range]string{h.KernelArgs: "kernel\x00-test.v\x00", h.KernelEnv: "GOTRACEBACK=all\x00A=1\x00"} {
		if got := string(b[fileOffset(r.Addr):fileOffset(r.End())]); got != want {
			t.Errorf("at %#x is %q, want %q", r.Addr, got, want)
		}
	}
}

// TestBakeDamage cuts and bends a baked image, which is larger than those of
// package image's tests and made by other code.
func TestBakeDamage(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "k.img")
	mustBake(t, Options{Kernel: kernelFile().write(t, filepath.Join(dir, "kernel")), Output: out})
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		at := i * (len(b) - 1) / 99
		bent := bytes.Clone(b)
		bent[at] ^= 0x10
		for what, c := range map[string][]byte{"cut": b[:at], "bent": bent} {
			if img, err := image.Parse(bytes.NewReader(c), int64(len(c))); err == nil {
				t.Errorf("%s at %#x: Parse = %+v, want an error", what, at, img.Header)
			}
		}
	}
}

// TestBytes: an image holds arguments and variables byte for byte.
func TestBytes(t *testing.T) {
	dir := t.TempDir()
	o := Options{
		Program: elfFile{}.write(t, filepath.Join(dir, "app")), Output: filepath.Join(dir, "caf\xe9.img"),
		Args: []string{"caf\xe9", "\xff\xfe", "caf\u00e9"}, Env: []string{"A=\xff"}, Cwd: "/caf\xe9",
	}
	m := mustBake(t, o).Manifest
	if !slices.Equal(m.Args[1:], o.Args) || !slices.Equal(m.Env, o.Env) || m.Cwd != o.Cwd {
		t.Errorf("arguments %q, variables %q, folder %q", m.Args, m.Env, m.Cwd)
	}
}

// TestMemory: what cannot be enough is refused when the image is made.
func TestMemory(t *testing.T) {
	dir := t.TempDir()
	app, out := elfFile{}.write(t, filepath.Join(dir, "app")), filepath.Join(dir, "out.img")
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(big, 40<<20); err != nil {
		t.Fatal(err)
	}
	o := Options{Program: app, Output: out, Add: []string{big + ":/big"}, Memory: 48}
	_, err := Bake(o)
	if !isInputError(err) || !strings.Contains(err.Error(), "-M 48") {
		t.Fatalf("Bake with 48 MB: %v, want an input error", err)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("the output was written")
	}
	words := strings.Fields(err.Error())
	i := slices.Index(words, "least")
	if o.Memory, err = strconv.Atoi(words[i+1]); err != nil {
		t.Fatal(err)
	}
	mustBake(t, o)
	o.Memory--
	if _, err := Bake(o); err == nil {
		t.Errorf("%d MB are enough, too", o.Memory)
	}
}

// endingContext ends when Err was called so many times.
type endingContext struct {
	context.Context
	left int
}

func (c *endingContext) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// TestInterrupted: whenever baking is ended, nothing stays behind.
func TestInterrupted(t *testing.T) {
	dir := t.TempDir()
	app := elfFile{}.write(t, filepath.Join(dir, "app"))
	container := ocitest.LayoutTar(t, ocitest.Layout(t, ocitest.Image(t, "amd64", v1.Config{Cmd: []string{"/p"}}, ocitest.Layer(t, "x p "+app))))
	for name, o := range map[string]Options{"program": {Program: app}, "container": {OCI: container}} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			outDir := t.TempDir()
			o.Output = filepath.Join(outDir, "out.img")
			ended := 0
			for n := 0; ; n++ {
				o.Context = &endingContext{context.Background(), n}
				_, err := Bake(o)
				left, _ := filepath.Glob(filepath.Join(os.TempDir(), "*"))
				if len(left) > 0 {
					t.Fatalf("ended at step %d: left %v", n, left)
				}
				if err == nil {
					break
				}
				if !errors.Is(err, context.Canceled) {
					t.Fatalf("ended at step %d: %v", n, err)
				}
				if left, _ := filepath.Glob(filepath.Join(outDir, "*")); len(left) > 0 {
					t.Fatalf("ended at step %d: left %v", n, left)
				}
				if left, _ := filepath.Glob(filepath.Join(outDir, ".*")); len(left) > 0 {
					t.Fatalf("ended at step %d: left %v", n, left)
				}
				ended++
			}
			if ended < 5 {
				t.Errorf("baking could be ended at %d steps only", ended)
			}
		})
	}
}
