package oci

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sort"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"kiln/bake/oci/ocitest"
)

// files returns the files of the image at path, by name: their content, or
// what they are.
func files(t *testing.T, path string) (map[string]string, Tree) {
	t.Helper()
	img, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	tree, err := img.Files(t.TempDir(), func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for p, f := range tree {
		switch {
		case f.Mode.IsDir():
			out[p] = "/"
		case f.Mode&fs.ModeSymlink != 0:
			out[p] = "-> " + f.Link
		case f.Mode&fs.ModeNamedPipe != 0:
			out[p] = "|"
		default:
			b, err := os.ReadFile(f.Host)
			if err != nil || int64(len(b)) != f.Size {
				t.Fatalf("%s: %d bytes, %v, want %d", p, len(b), err, f.Size)
			}
			out[p] = string(b)
		}
	}
	return out, tree
}

func TestLayers(t *testing.T) {
	img := ocitest.Image(t, "amd64", v1.Config{Cmd: []string{"/a"}},
		ocitest.Layer(t, "d etc", "f etc/kept one", "f etc/gone two", "f etc/changed three", "d dir", "f dir/a 1", "f dir/b 2",
			"d opaque", "f opaque/old x", "d sub", "d sub/opaque", "l lib usr/lib", "f file f", "d todir", "f todir/x x", "p pipe",
			"f ./usr/bin/deep/er d @7:8", "h hard etc/kept"),
		ocitest.Layer(t, "f etc/.wh.gone ", "f etc/changed 3", "f .wh.dir ", "f lib/so library", "f opaque/new y", "f opaque/.wh..wh..opq ",
			"d file", "f file/now d", "f todir now-a-file", "h hard2 etc/changed", "f ../../escape e", "f .wh..wh.x "),
		ocitest.Layer(t, "f etc/changed 4"),
	)
	want := map[string]string{
		"/": "/", "/etc": "/", "/etc/kept": "one", "/etc/changed": "4", "/opaque": "/", "/opaque/new": "y",
		"/sub": "/", "/sub/opaque": "/", "/lib": "-> usr/lib", "/usr": "/", "/usr/lib": "/", "/usr/lib/so": "library",
		"/file": "/", "/file/now": "d", "/todir": "now-a-file", "/usr/bin": "/", "/usr/bin/deep": "/", "/usr/bin/deep/er": "d",
		"/hard": "one", "/hard2": "3", "/escape": "e", "/pipe": "|",
	}
	layoutDir := ocitest.Layout(t, img)
	for kind, path := range map[string]string{
		"layout": layoutDir, "layout in a tar": ocitest.LayoutTar(t, layoutDir), "docker save": ocitest.Docker(t, img),
	} {
		got, tree := files(t, path)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: files = %v, want %v", kind, sorted(got), sorted(want))
		}
		if f := tree["/usr/bin/deep/er"]; f == nil || f.UID != 7 || f.GID != 8 {
			t.Errorf("%s: /usr/bin/deep/er is %+v, want one of user 7 and group 8", kind, f)
		}
		if tree["/hard"] != tree["/etc/kept"] {
			t.Errorf("%s: /hard and /etc/kept are not one file", kind)
		}
	}
}

func sorted(m map[string]string) (out []string) {
	for k, v := range m {
		out = append(out, k+"="+v)
	}
	sort.Strings(out)
	return out
}

// TestChoose: of the images in a layout it is the one for this machine.
func TestChoose(t *testing.T) {
	arm := ocitest.Image(t, "arm64", v1.Config{Cmd: []string{"arm"}}, ocitest.Layer(t, "f a arm"))
	ours := ocitest.Image(t, "amd64", v1.Config{Cmd: []string{"ours"}}, ocitest.Layer(t, "f a ours"))
	img, err := Open(t.Context(), ocitest.Layout(t, arm, ours))
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	if !slices.Equal(img.Config.Cmd, []string{"ours"}) {
		t.Errorf("command = %q, want ours", img.Config.Cmd)
	}
}

// TestNestedIndex: docker buildx puts an index into the index, with
// attestations beside the images.
func TestNestedIndex(t *testing.T) {
	descriptor := func(os, arch string) v1.Descriptor {
		return v1.Descriptor{Platform: &v1.Platform{OS: os, Architecture: arch}}
	}
	inner := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: ocitest.Image(t, "arm64", v1.Config{Cmd: []string{"arm"}}), Descriptor: descriptor("linux", "arm64")},
		mutate.IndexAddendum{Add: ocitest.Image(t, "unknown", v1.Config{}), Descriptor: descriptor("unknown", "unknown")},
		mutate.IndexAddendum{Add: ocitest.Image(t, "amd64", v1.Config{Cmd: []string{"ours"}}), Descriptor: descriptor("linux", "amd64")},
	)
	dir := filepath.Join(t.TempDir(), "layout")
	if _, err := layout.Write(dir, mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: inner})); err != nil {
		t.Fatal(err)
	}
	img, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	if !slices.Equal(img.Config.Cmd, []string{"ours"}) {
		t.Errorf("command = %q, want ours", img.Config.Cmd)
	}
}

func TestGzip(t *testing.T) {
	file := ocitest.Docker(t, ocitest.Image(t, "amd64", v1.Config{}, ocitest.Layer(t, "f a content")))
	plain, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, _ := files(t, file); got["/a"] != "content" {
		t.Errorf("/a = %q, want content", got["/a"])
	}
}

func TestErrors(t *testing.T) {
	one := ocitest.Image(t, "amd64", v1.Config{}, ocitest.Layer(t, "f a a"), ocitest.Layer(t, "f b b"))
	arm := ocitest.Image(t, "arm64", v1.Config{}, ocitest.Layer(t, "f a a"))
	layers, err := one.Layers()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := layers[1].Digest()
	if err != nil {
		t.Fatal(err)
	}
	missing, bent := ocitest.Layout(t, one), ocitest.Layout(t, one)
	if err := os.Remove(filepath.Join(missing, "blobs", "sha256", digest.Hex)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bent, "blobs", "sha256", digest.Hex), make([]byte, 2048), 0o644); err != nil {
		t.Fatal(err)
	}
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no tar at all\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	// docker save's archive without its second layer.
	cut := ocitest.Without(t, ocitest.Docker(t, one), digest.Hex)
	edited := func(old, new string) string {
		dir := ocitest.Layout(t, one)
		ocitest.EditManifest(t, dir, old, new)
		return dir
	}
	for name, tt := range map[string]struct{ path, words string }{
		"nothing":                      {filepath.Join(t.TempDir(), "none"), "no such file"},
		"empty folder":                 {t.TempDir(), "no index.json"},
		"text":                         {text, "no sound tar archive"},
		"another architecture":         {ocitest.Docker(t, arm), "arm64"},
		"another architecture, layout": {ocitest.Layout(t, arm), "linux on arm64"},
		"missing layer":                {missing, "layer 2 of 2 is missing"},
		"missing layer, docker":        {cut, "layers are missing or damaged"},
		"damaged layer":                {bent, "layer 2 of 2 is damaged"},
		"two images":                   {ocitest.Docker(t, one, arm), "2 images"},
		"negative size":                {edited(`"size":`, `"size":-`), "a size of -"},
		"absurd size":                  {edited(`"size":`, `"size":9999999999999`), "in the manifest"},
		"size beyond all numbers":      {edited(`"size":`, `"size":99999999999999999999`), "damaged"},
		"unknown layer":                {edited("application/vnd.docker.image.rootfs.diff.tar.gzip", "application/vnd.oci.image.layer.v9.rar"), "v9.rar"},
		"docker's unknown layer":       {edited("diff.tar", "diff.rar"), "diff.rar"},
		"no image at all":              {edited("container.image.v1+json", "plugin.v1+json"), "no container image"},
		"file larger than an image":    {ocitest.Layout(t, ocitest.Image(t, "amd64", v1.Config{}, ocitest.Layer(t, "s huge 1125899906842624"))), "more than fit"},
	} {
		img, err := Open(t.Context(), tt.path)
		if err == nil {
			_, err = img.Files(t.TempDir(), func(string) {})
		}
		if _, ok := errors.AsType[*Error](err); !ok || !strings.Contains(err.Error(), tt.words) || !strings.Contains(err.Error(), tt.path) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want one line with %q", name, err, tt.words)
		}
	}
}

// FuzzApply: whatever the layers, each file has a directory.
func FuzzApply(f *testing.F) {
	f.Add("a/b", "a", "a/.wh.b", uint8(3))
	f.Add("x", "x/y", ".wh..wh..opq", uint8(200))
	f.Add("", "a", "", uint8(0)) // the root as a file
	f.Add("a", "..", "", uint8(255))
	f.Fuzz(func(t *testing.T, a, b, c string, kinds uint8) {
		tree := Tree{"/": &File{Mode: fs.ModeDir | 0o755}}
		for i, name := range []string{a, b, c, a} {
			ch := change{path: cleanPath(name), file: &File{Mode: 0o644}}
			switch kinds >> (2 * i) & 3 {
			case 1:
				ch.file.Mode = fs.ModeDir | 0o755
			case 2:
				ch.file.Mode, ch.file.Link = fs.ModeSymlink|0o777, b
			case 3:
				ch.file, ch.hard = nil, cleanPath(c)
			}
			tree.apply([]change{ch})
		}
		for p, file := range tree {
			if dir := tree[filepath.Dir(p)]; file == nil || dir == nil || !dir.Mode.IsDir() {
				t.Fatalf("%q lies in no directory: %v", p, tree)
			}
		}
	})
}

func cleanPath(p string) string { return filepath.Clean("/" + p) }
