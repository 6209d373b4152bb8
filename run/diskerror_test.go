package run

import (
	"bytes"
	"testing"

	"kiln/run/qemu"
)

func TestDiskErrorLines(t *testing.T) {
	var out bytes.Buffer
	r := diskErrors{command: "kiln run", out: &out, disks: []qemu.Disk{{File: "a.img"}, {Socket: "/tmp/nbd"}}}
	full := qemu.DiskError{Disk: 0, Reason: "No space left on device"}
	for range 3 {
		r.report(full)
	}
	r.report(qemu.DiskError{Disk: 1, Read: true, Reason: "Input/output error"})
	r.report(qemu.DiskError{Disk: 2, Reason: "of a disk that there is not"})
	want := "kiln run: a.img cannot be written to: No space left on device; the guest gets I/O errors\n" +
		"kiln run: /tmp/nbd cannot be read: Input/output error; the guest gets I/O errors\n"
	if got := out.String(); got != want {
		t.Errorf("lines:\n%swant:\n%s", got, want)
	}
}
