//go:build !noiso9660

package sentry

import (
	"kiln/kernel/fs"
	"kiln/kernel/fs/block"
	"kiln/kernel/fs/iso9660"
)

func init() {
	diskFilesystems = append(diskFilesystems, diskFS{
		"iso9660", iso9660.Probe, func(dev block.Device, _ bool, log func(string)) (fs.Filesystem, error) {
			return asFilesystem(iso9660.Mount(dev, iso9660.Options{Log: log}))
		},
	})
}
