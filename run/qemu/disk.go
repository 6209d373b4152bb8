package qemu

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Formats of disk images, by QEMU's names.
const (
	Raw   = "raw"
	QCOW2 = "qcow2"
)

// Disk is a block device of a machine, with an image on the host behind it.
type Disk struct {
	File     string // path
	Socket   string // path of a Unix socket with an NBD server, in place of File
	Format   string // Raw or QCOW2
	ReadOnly bool
}

// diskNode is what a disk is called by QEMU, with its index.
const diskNode = "disk%d"

// args returns the arguments of -blockdev and, after the device's name, of
// -device for a machine's disk number index.
//
// The host's page cache is a disk's write cache: the guest's flush is
// fdatasync(2) on the image. What the guest discards becomes a hole.
//
// What fails on the host fails in the guest. QEMU's own way with a full disk of
// the host is to stop the guest until somebody asks the monitor to go on.
func (d Disk) args(index int) (backend, frontend string) {
	type server struct {
		Type string `json:"type"`
		Path string `json:"path"`
	}
	type node struct {
		Driver   string  `json:"driver"`
		NodeName string  `json:"node-name,omitempty"`
		Filename string  `json:"filename,omitempty"`
		Server   *server `json:"server,omitempty"`
		File     *node   `json:"file,omitempty"`
		ReadOnly bool    `json:"read-only"`
		Discard  string  `json:"discard"`
	}
	name := fmt.Sprintf(diskNode, index)
	// In JSON a file name may have commas, and is not taken for a protocol.
	content := &node{Driver: "file", Filename: d.File, ReadOnly: d.ReadOnly, Discard: "unmap"}
	if d.Socket != "" {
		content.Driver, content.Filename, content.Server = "nbd", "", &server{"unix", d.Socket}
	}
	b, err := json.Marshal(node{
		Driver: d.Format, NodeName: name, ReadOnly: d.ReadOnly, Discard: "unmap", File: content,
	})
	if err != nil {
		// Strings and booleans cannot fail.
		panic(fmt.Sprintf("qemu: disk %q: %v", d.File, err))
	}
	frontend = ",drive=" + name + ",rerror=report,werror=report"
	if !d.ReadOnly {
		frontend += ",write-cache=on"
	}
	return string(b), frontend
}

// lockMessages are in what QEMU says of an image that another QEMU has open, to
// write or to read (block/file-posix.c, raw_check_lock_bytes).
var lockMessages = []string{`Failed to get "`, `Failed to get shared "`}

// Locked returns the disk image which QEMU could not have because another
// process uses it, "" if that was not why it failed.
func (s Status) Locked() string {
	if !slices.ContainsFunc(lockMessages, func(m string) bool { return strings.Contains(s.Stderr, m) }) {
		return ""
	}
	_, rest, _ := strings.Cut(s.Stderr, "Is another process using the image [")
	name, _, _ := strings.Cut(rest, "]?")
	return name
}
