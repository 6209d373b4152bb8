package run

import (
	"fmt"
	"io"

	"kiln/run/qemu"
)

// diskErrors tells the user when the host cannot read or write a disk image,
// which the guest knows as an I/O error only: one line for each disk and reason.
type diskErrors struct {
	command string
	out     io.Writer
	disks   []qemu.Disk
	told    map[qemu.DiskError]bool
}

// report writes the line for e unless there was one like it.
func (r *diskErrors) report(e qemu.DiskError) {
	if e.Disk < 0 || e.Disk >= len(r.disks) || r.told[e] {
		return
	}
	if r.told == nil {
		r.told = make(map[qemu.DiskError]bool)
	}
	r.told[e] = true
	d, what := r.disks[e.Disk], "written to"
	name := d.File
	if d.Socket != "" {
		name = d.Socket
	}
	if e.Read {
		what = "read"
	}
	fmt.Fprintf(r.out, "%s: %s cannot be %s: %s; the guest gets I/O errors\n", r.command, name, what, e.Reason)
}
