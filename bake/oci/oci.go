// Package oci reads container images: OCI image layouts (OCI image-spec
// v1.1), as a folder or in a tar, and the archives of docker save. What is in
// an image's layers becomes one file tree.
//
// The formats are read by github.com/google/go-containerregistry; how layers
// are put upon each other (image-spec, layer.md) is here.
package oci

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/partial"
)

// What an image is for, as its configuration says it.
const (
	wantOS   = "linux"
	wantArch = "amd64"
)

// An Error says what is wrong with an image.
type Error struct {
	Path string // of the image
	Msg  string
	Err  error // the cause, or nil
}

// Error implements error.
func (e *Error) Error() string {
	s := e.Path + ": " + e.Msg
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// An Image is a container image. Close it.
type Image struct {
	// Config is how a container of the image is run.
	Config v1.Config

	ctx    context.Context // ends the reading
	path   string
	image  v1.Image
	unpack string   // folder that a tar was unpacked to, "" for none
	root   *os.Root // the same folder
}

// errorf returns an Error about the image at path. An error among args is its
// cause.
func errorf(path, format string, args ...any) *Error {
	e := &Error{Path: path}
	if n := len(args); n > 0 {
		if err, ok := args[n-1].(error); ok {
			e.Err, args = err, args[:n-1]
		}
	}
	e.Msg = fmt.Sprintf(format, args...)
	return e
}

// Open opens the image at path, a folder or a tar. If there are several in it,
// for different machines, it is the one for this. Once ctx ends, whatever reads
// the image fails.
func Open(ctx context.Context, path string) (*Image, error) {
	i := &Image{ctx: ctx, path: path}
	if err := i.open(); err != nil {
		return nil, errors.Join(err, i.Close())
	}
	return i, nil
}

// Close removes what Open unpacked.
func (i *Image) Close() error {
	if i.unpack == "" {
		return nil
	}
	var err error
	if i.root != nil {
		err = i.root.Close()
	}
	return errors.Join(err, os.RemoveAll(i.unpack))
}

// open finds out what kind of image there is, and opens it.
func (i *Image) open() error {
	st, err := os.Stat(i.path)
	if err != nil {
		return errorf(i.path, "cannot be read", pathCause(err))
	}
	if st.IsDir() {
		err = i.openLayout(i.path)
	} else {
		err = i.openTar()
	}
	if err != nil {
		return err
	}
	file, err := i.image.ConfigFile()
	if err != nil {
		return errorf(i.path, "the image's configuration is missing or damaged", err)
	}
	if file.Architecture != wantArch || file.OS != wantOS {
		return errorf(i.path, "is for %s on %s; Kiln runs %s on %s", file.OS, file.Architecture, wantOS, wantArch)
	}
	i.Config = file.Config
	return nil
}

// openTar opens a tar: of docker save, or with a layout in it.
func (i *Image) openTar() error {
	names, err := i.names()
	if err != nil {
		return err
	}
	docker := slices.Contains(names, "manifest.json")
	if !docker && !slices.Contains(names, "index.json") {
		return errorf(i.path, "is no container image: it has neither manifest.json nor index.json")
	}
	if i.unpack, err = os.MkdirTemp("", "kiln-oci-"); err != nil {
		return err
	}
	if i.root, err = os.OpenRoot(i.unpack); err != nil { // what a name with dots would leave
		return err
	}
	if err := i.unpackAll(); err != nil {
		return err
	}
	if !docker {
		return i.openLayout(i.unpack)
	}
	a, err := openArchive(i.root)
	if err == nil {
		i.image, err = partial.UncompressedToImage(a)
	}
	if err != nil {
		return &Error{Path: i.path, Msg: err.Error()}
	}
	return nil
}

// reader opens the tar, which may be compressed.
func (i *Image) reader() (io.ReadCloser, error) {
	f, err := os.Open(i.path)
	if err != nil {
		return nil, err
	}
	r, err := uncompressed(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return readCloser{r, f}, nil
}

// readCloser reads from one and closes another.
type readCloser struct {
	io.Reader
	io.Closer
}

// eachFile calls f for each file of the tar.
func (i *Image) eachFile(f func(h *tar.Header, r io.Reader) error) error {
	r, err := i.reader()
	if err != nil {
		return errorf(i.path, "cannot be read", pathCause(err))
	}
	defer r.Close()
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = f(h, i.while(t))
		}
		if err != nil {
			return i.damage("", "is no sound tar archive", err)
		}
	}
}

// names lists the files of the tar.
func (i *Image) names() (names []string, err error) {
	err = i.eachFile(func(h *tar.Header, _ io.Reader) error {
		names = append(names, strings.TrimPrefix(h.Name, "./"))
		return nil
	})
	return names, err
}

// unpackAll unpacks the tar to i.root: its files, and the links by which an
// archive of docker save names a layer twice.
func (i *Image) unpackAll() error {
	return i.eachFile(func(h *tar.Header, r io.Reader) error {
		name := filepath.Clean(h.Name)
		if name == "." || h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeSymlink && h.Typeflag != tar.TypeLink {
			return nil
		}
		if err := i.root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		switch h.Typeflag {
		case tar.TypeSymlink:
			return i.root.Symlink(h.Linkname, name)
		case tar.TypeLink:
			return i.root.Link(filepath.Clean(h.Linkname), name)
		}
		f, err := i.root.Create(name)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, r)
		return errors.Join(err, f.Close())
	})
}

// openLayout opens the OCI layout in dir.
func (i *Image) openLayout(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "index.json")); err != nil {
		return errorf(i.path, "is no OCI image layout: it has no index.json")
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return errorf(i.path, "index.json cannot be read", pathCause(err))
	}
	var others []string
	if i.image, err = i.choose(index, &others); err != nil {
		return err
	}
	if i.image == nil {
		sort.Strings(others)
		return errorf(i.path, "holds no image for %s on %s, but for: %s", wantOS, wantArch, strings.Join(others, ", "))
	}
	return i.checkManifest(dir)
}

// choose returns the image for this machine, nil if there is none; then others
// are what the images are for.
func (i *Image) choose(index v1.ImageIndex, others *[]string) (v1.Image, error) {
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, errorf(i.path, "index.json is damaged", err)
	}
	for _, d := range manifest.Manifests {
		if p := d.Platform; p != nil && (p.Architecture != wantArch || p.OS != wantOS) {
			if p.OS != "unknown" { // an attestation, no image
				*others = append(*others, p.OS+" on "+p.Architecture)
			}
			continue
		}
		if d.MediaType.IsIndex() {
			inner, err := index.ImageIndex(d.Digest)
			if err != nil {
				return nil, errorf(i.path, "the index %s is missing or damaged", d.Digest, pathCause(err))
			}
			if image, err := i.choose(inner, others); image != nil || err != nil {
				return image, err
			}
			continue
		}
		if d.MediaType.IsImage() {
			image, err := index.Image(d.Digest)
			if err != nil {
				return nil, errorf(i.path, "the image %s is missing or damaged", d.Digest, pathCause(err))
			}
			return image, nil
		}
		*others = append(*others, fmt.Sprintf("something of the type %q", string(d.MediaType)))
	}
	return nil, nil
}

// while returns r, which fails once the reading of the image is to end.
func (i *Image) while(r io.Reader) io.Reader { return contextReader{i.ctx, r} }

// contextReader reads until a context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(b []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(b)
}

// damage returns an Error about a part of the image that could not be read, or
// why the reading was ended, if it was.
func (i *Image) damage(part, msg string, err error) error {
	if i.ctx.Err() != nil {
		return context.Cause(i.ctx)
	}
	return errorf(i.path, "%s%s", part, msg, pathCause(err))
}

// pathCause returns what is wrong with a file without its name, which may be
// one of ours.
func pathCause(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}
