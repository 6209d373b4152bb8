//go:build !no9p

package sentry

import (
	"kiln/image"
	"kiln/kernel/fs"
	"kiln/kernel/fs/ninep"
	"kiln/kernel/virtio"
	"kiln/kernel/virtio/p9"
)

func init() {
	openFolder = func(f virtio.Found) (string, folder, error) {
		t, err := f.Open()
		if err != nil {
			return "", nil, err
		}
		dev, err := p9.Open(t, virtio.DMA{})
		if err != nil {
			return "", nil, err
		}
		return dev.Tag(), plan9Folder{dev}, nil
	}
}

// plan9Folder is a folder that a virtio device offers by 9P.
type plan9Folder struct{ dev *p9.Device }

func (p plan9Folder) mount(m image.Mount, log func(string)) (fs.Filesystem, error) {
	return asFilesystem(ninep.Mount(p.dev, ninep.Options{ReadOnly: m.ReadOnly, UID: m.UID, GID: m.GID, Log: log}))
}
