package oci

import (
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// maxFile bounds a file of a layer, in bytes. No file of an image can be
// larger, as all of it lies in the machine's first GB of memory; and an entry
// of a few bytes, a sparse file, can claim to be as large as it likes.
const maxFile = 1 << 30

// checkManifest compares what the manifest of the layout in dir says of
// configuration and layers with what Kiln can read, and with the files.
func (i *Image) checkManifest(dir string) error {
	m, err := i.image.Manifest()
	if err != nil {
		return errorf(i.path, "the image's manifest is missing or damaged", pathCause(err))
	}
	if t := m.Config.MediaType; !t.IsConfig() {
		return errorf(i.path, "is no container image: its configuration is of the type %q", string(t))
	}
	if err := i.checkBlob(dir, "the configuration", m.Config); err != nil {
		return err
	}
	for n, d := range m.Layers {
		what := layerName(n, len(m.Layers))
		if !d.MediaType.IsLayer() {
			return errorf(i.path, "%s is of the type %q, which Kiln does not know", what, string(d.MediaType))
		}
		if err := i.checkBlob(dir, what, d); err != nil {
			return err
		}
	}
	return nil
}

// checkBlob compares the size that d has with the file's.
func (i *Image) checkBlob(dir, what string, d v1.Descriptor) error {
	if d.Size < 0 {
		return errorf(i.path, "%s has a size of %d bytes in the manifest", what, d.Size)
	}
	st, err := os.Stat(filepath.Join(dir, "blobs", d.Digest.Algorithm, d.Digest.Hex))
	if err != nil {
		return errorf(i.path, "%s is missing", what, pathCause(err))
	}
	if st.Size() != d.Size {
		return errorf(i.path, "%s is damaged: it has %d bytes, and %d in the manifest", what, st.Size(), d.Size)
	}
	return nil
}
