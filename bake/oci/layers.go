package oci

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Files puts the layers upon each other. The content of regular files goes
// into dir, which exists. skipped is called for each file that is left out.
func (i *Image) Files(dir string, skipped func(path string)) (Tree, error) {
	layers, err := i.image.Layers()
	if err != nil {
		return nil, errorf(i.path, "its layers are missing or damaged", pathCause(err))
	}
	file, err := i.image.ConfigFile()
	if err != nil {
		return nil, errorf(i.path, "its configuration is damaged", err)
	}
	sums := file.RootFS.DiffIDs
	if len(sums) != len(layers) {
		return nil, errorf(i.path, "it has %d layers, but %d in its configuration", len(layers), len(sums))
	}
	u := &unpacker{image: i, dir: dir, skipped: skipped}
	t := Tree{"/": &File{Mode: os.ModeDir | 0o755}}
	for n, layer := range layers {
		u.what = layerName(n, len(layers))
		changes, err := u.read(layer, sums[n])
		if err != nil {
			return nil, err
		}
		if p := t.apply(changes); p != "" {
			return nil, errorf(i.path, "%s: %s cannot be put into the image", u.what, p)
		}
	}
	return t, nil
}

// layerName is what messages call layer n of all.
func layerName(n, all int) string { return fmt.Sprintf("layer %d of %d", n+1, all) }

// unpacker reads layers.
type unpacker struct {
	image   *Image
	dir     string
	files   int // in dir
	skipped func(string)
	what    string // the layer, for messages
}

// read reads a layer, and checks it against the sum that the configuration
// has.
func (u *unpacker) read(layer v1.Layer, want v1.Hash) ([]change, error) {
	bad := func(msg string, err error) error { return u.image.damage(u.what, msg, err) }
	r, err := layer.Uncompressed()
	if err != nil {
		return nil, bad(" is missing", err)
	}
	defer r.Close()
	sum := sha256.New()
	body := io.TeeReader(u.image.while(r), sum)
	changes, err := u.changes(tar.NewReader(body))
	if err == nil {
		_, err = io.Copy(io.Discard, body) // what follows the last entry
	}
	if err != nil {
		return nil, bad(" is damaged", err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); want.Algorithm == "sha256" && got != want.Hex {
		return nil, errorf(u.image.path, "%s is damaged: its SHA-256 is %s, not %s", u.what, got, want.Hex)
	}
	return changes, nil
}

// changes reads the entries of a layer.
func (u *unpacker) changes(t *tar.Reader) ([]change, error) {
	var all []change
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		c := change{path: path.Clean("/" + h.Name)}
		if h.Typeflag == tar.TypeLink {
			c.hard = path.Clean("/" + h.Linkname)
		} else if c.file = fileOf(h); c.file == nil {
			u.skipped(c.path)
			continue
		}
		if h.Typeflag == tar.TypeReg {
			if h.Size > maxFile {
				return nil, fmt.Errorf("%s has %d bytes, more than fit into an image", c.path, h.Size)
			}
			if c.file.Host, err = u.save(t); err != nil {
				return nil, err
			}
		}
		all = append(all, c)
	}
}

// save writes a file's content to a new file of the folder.
func (u *unpacker) save(r io.Reader) (string, error) {
	u.files++
	name := filepath.Join(u.dir, fmt.Sprint(u.files))
	f, err := os.Create(name)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(f, r)
	return name, errors.Join(err, f.Close())
}
