package qemu

import (
	"fmt"
	"strings"
)

// Folder is a folder of the host that a machine reaches by 9P.
type Folder struct {
	Path     string // absolute
	Tag      string // by which the guest mounts it
	ReadOnly bool
}

// args returns the arguments of -fsdev and, after the device's name, of
// -device for a machine's folder number index.
//
// With security_model=none, files are on the host what they are in the guest:
// with the same permissions, links as links, and owned by whom QEMU runs as.
// The other models would make them all private, with owners and permissions in
// extended attributes and links as text (mapped-xattr), or take root
// (passthrough). multidevs=remap gives files of several file systems below the
// folder different inode numbers.
func (f Folder) args(index int) (backend, frontend string) {
	id := fmt.Sprintf("folder%d", index)
	// In QEMU's options a comma is written twice.
	path := strings.ReplaceAll(f.Path, ",", ",,")
	backend = fmt.Sprintf("local,id=%s,path=%s,security_model=none,multidevs=remap", id, path)
	if f.ReadOnly {
		backend += ",readonly=on"
	}
	return backend, fmt.Sprintf(",fsdev=%s,mount_tag=%s", id, f.Tag)
}
