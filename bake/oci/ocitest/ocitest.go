// Package ocitest makes small container images for tests.
package ocitest

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Layer returns a layer of a file per line:
//
//	d PATH            directory
//	f PATH CONTENT    file
//	x PATH HOSTFILE   program, with the content of a file of the host's
//	l PATH TARGET     symbolic link
//	h PATH TARGET     hard link
//	p PATH            named pipe
//	s PATH SIZE       file whose header claims that size; the archive ends there
//
// A line may end in a user's and group's number, " @UID:GID".
func Layer(t testing.TB, lines ...string) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	claims := false
	for _, line := range lines {
		content, h := header(t, line)
		if h.Size == 0 {
			h.Size = int64(len(content))
		} else {
			claims = true
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil && !claims {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b.Bytes())), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return layer
}

// header returns the tar header for a line of Layer, and the content.
func header(t testing.TB, line string) ([]byte, *tar.Header) {
	t.Helper()
	line, owner, owned := strings.Cut(line, " @")
	fields := strings.SplitN(line, " ", 3)
	kind, p, rest := fields[0], fields[1], strings.Join(fields[2:], " ")
	h := &tar.Header{Name: p, Mode: 0o644}
	if owned {
		uid, gid, _ := strings.Cut(owner, ":")
		h.Uid, h.Gid = number(uid), number(gid)
	}
	switch kind {
	case "d":
		h.Typeflag, h.Mode = tar.TypeDir, 0o755
	case "f":
		h.Typeflag = tar.TypeReg
		return []byte(rest), h
	case "x":
		h.Typeflag, h.Mode = tar.TypeReg, 0o755
		content, err := os.ReadFile(rest)
		if err != nil {
			t.Fatal(err)
		}
		return content, h
	case "l":
		h.Typeflag, h.Linkname = tar.TypeSymlink, rest
	case "h":
		h.Typeflag, h.Linkname = tar.TypeLink, rest
	case "s":
		h.Typeflag, h.Size = tar.TypeReg, int64(number(rest))
	case "p":
		h.Typeflag = tar.TypeFifo
	default:
		t.Fatalf("no such kind of file: %s", line)
	}
	return nil, h
}

func number(s string) (n int) {
	for _, c := range s {
		n = n*10 + int(c-'0')
	}
	return n
}

// Image returns an image for arch.
func Image(t testing.TB, arch string, config v1.Config, layers ...v1.Layer) v1.Image {
	t.Helper()
	img, err := mutate.AppendLayers(empty.Image, layers...)
	if err != nil {
		t.Fatal(err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file = file.DeepCopy()
	file.Architecture, file.OS, file.Config = arch, "linux", config
	if img, err = mutate.ConfigFile(img, file); err != nil {
		t.Fatal(err)
	}
	return img
}

// Layout writes images to an OCI layout, and returns its folder.
func Layout(t testing.TB, images ...v1.Image) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "layout")
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	for _, img := range images {
		file, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		platform := layout.WithPlatform(v1.Platform{OS: file.OS, Architecture: file.Architecture})
		if err := p.AppendImage(img, platform); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// EditManifest replaces old by new in the manifest of the only image of the
// layout in dir, and wherever the manifest's digest stands.
func EditManifest(t testing.TB, dir, old, new string) {
	t.Helper()
	p := layout.Path(dir)
	index, err := p.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	was := m.Manifests[0].Digest
	raw, err := p.Bytes(was)
	if err != nil {
		t.Fatal(err)
	}
	edited := bytes.ReplaceAll(raw, []byte(old), []byte(new))
	if bytes.Equal(edited, raw) {
		t.Fatalf("%s is not in %s", old, raw)
	}
	digest, _, err := v1.SHA256(bytes.NewReader(edited))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.WriteBlob(digest, io.NopCloser(bytes.NewReader(edited))); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "index.json")
	raw, err = os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, bytes.ReplaceAll(raw, []byte(was.Hex), []byte(digest.Hex)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// LayoutTar packs a folder to a tar, and returns its path.
func LayoutTar(t testing.TB, dir string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "layout.tar")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(f)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return file
}

// Docker writes images to an archive as docker save does, and returns its
// path.
func Docker(t testing.TB, images ...v1.Image) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "saved.tar")
	tags := map[name.Tag]v1.Image{}
	for i, img := range images {
		tag, err := name.NewTag("kiln/test:" + string(rune('a'+i)))
		if err != nil {
			t.Fatal(err)
		}
		tags[tag] = img
	}
	if err := tarball.MultiWriteToFile(file, tags); err != nil {
		t.Fatal(err)
	}
	return file
}

// Without copies an archive but for the files whose names have part in them,
// and returns the copy's path.
func Without(t testing.TB, archive, part string) string {
	t.Helper()
	in, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for r := tar.NewReader(in); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(h.Name, part) {
			continue
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "without.tar")
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}
