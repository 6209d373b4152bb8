package oci

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
)

// An archive is what docker save wrote, unpacked to a folder. The library's own
// reader looks for each layer from the start of the tar, which takes minutes
// for a thousand layers.
type archive struct {
	root   *os.Root
	config []byte
	layers map[v1.Hash]string // names of the layers' files, by the sum of what is in them
}

// openArchive opens the archive whose files are in root.
func openArchive(root *os.Root) (*archive, error) {
	text, err := root.ReadFile("manifest.json")
	var manifest tarball.Manifest
	if err == nil {
		err = json.Unmarshal(text, &manifest)
	}
	if err != nil {
		return nil, fmt.Errorf("manifest.json is damaged: %w", pathCause(err))
	}
	if len(manifest) != 1 {
		var tags []string
		for _, d := range manifest {
			tags = append(tags, d.RepoTags...)
		}
		return nil, fmt.Errorf("holds %d images (%s): save one", len(manifest), strings.Join(tags, ", "))
	}
	d := manifest[0]
	a := &archive{root: root, layers: map[v1.Hash]string{}}
	if a.config, err = root.ReadFile(path.Clean(d.Config)); err != nil {
		return nil, fmt.Errorf("the image's configuration is missing or damaged: %w", pathCause(err))
	}
	config, err := v1.ParseConfigFile(bytes.NewReader(a.config))
	if err != nil {
		return nil, fmt.Errorf("the image's configuration is missing or damaged: %w", err)
	}
	if sums := config.RootFS.DiffIDs; len(sums) != len(d.Layers) {
		return nil, fmt.Errorf("it has %d layers, but %d in its configuration", len(d.Layers), len(sums))
	}
	for n, name := range d.Layers {
		name = path.Clean(name)
		if _, err := root.Stat(name); err != nil {
			return nil, fmt.Errorf("its layers are missing or damaged: %s: %w", name, pathCause(err))
		}
		a.layers[config.RootFS.DiffIDs[n]] = name
	}
	return a, nil
}

// RawConfigFile implements partial.UncompressedImageCore.
func (a *archive) RawConfigFile() ([]byte, error) { return a.config, nil }

// MediaType implements partial.UncompressedImageCore.
func (a *archive) MediaType() (types.MediaType, error) { return types.DockerManifestSchema2, nil }

// LayerByDiffID implements partial.UncompressedImageCore.
func (a *archive) LayerByDiffID(sum v1.Hash) (partial.UncompressedLayer, error) {
	name, ok := a.layers[sum]
	if !ok {
		return nil, fmt.Errorf("there is no layer %s", sum)
	}
	return archiveLayer{a.root, name, sum}, nil
}

// An archiveLayer is a layer in a file of root.
type archiveLayer struct {
	root *os.Root
	name string
	sum  v1.Hash
}

// DiffID implements partial.UncompressedLayer.
func (l archiveLayer) DiffID() (v1.Hash, error) { return l.sum, nil }

// MediaType implements partial.UncompressedLayer.
func (l archiveLayer) MediaType() (types.MediaType, error) { return types.DockerUncompressedLayer, nil }

// Uncompressed implements partial.UncompressedLayer. The file may be compressed
// all the same: docker save does not say.
func (l archiveLayer) Uncompressed() (io.ReadCloser, error) {
	f, err := l.root.Open(l.name)
	if err != nil {
		return nil, err
	}
	r, err := uncompressed(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return readCloser{r, f}, nil
}

// What compressed data begins with (RFC 1952 §2.3.1, RFC 8878 §3.1.1).
var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// uncompressed returns what r holds, without its compression if it has one.
func uncompressed(r io.Reader) (io.Reader, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	magic, err := b.Peek(len(zstdMagic))
	switch {
	case err != nil: // what is wrong with a short one, the tar reader says
		return b, nil
	case bytes.HasPrefix(magic, gzipMagic):
		return gzip.NewReader(b)
	case bytes.Equal(magic, zstdMagic):
		return zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(1<<30))
	}
	return b, nil
}
