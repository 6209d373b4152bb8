package run

import (
	"bytes"
	"encoding/binary"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kiln/image"
	"kiln/run/qemu"
)

func TestParseDisk(t *testing.T) {
	dir := t.TempDir()
	comma := filepath.Join(dir, "a,b.img")
	if err := os.WriteFile(comma, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		in   string
		want disk
	}{
		// As in the notes on Rumprun.
		{"images/data.iso,/data", disk{file: "images/data.iso", path: "/data"}},
		{"images/datapers.img,/backup", disk{file: "images/datapers.img", path: "/backup"}},
		{"x.img", disk{file: "x.img"}},
		{"x.img,/a/../b/,ro", disk{file: "x.img", path: "/b", readOnly: true}},
		{"x.img,ro", disk{file: "x.img", readOnly: true}},
		{"x.img,/b,rw,qcow2", disk{file: "x.img", path: "/b", format: qemu.QCOW2}},
		{"x.img,raw,/b", disk{file: "x.img", path: "/b", format: qemu.Raw}},
		{"/dev/sdb,/b", disk{file: "/dev/sdb", path: "/b"}},
		{comma, disk{file: comma}},
		{comma + ",/b", disk{file: comma, path: "/b"}},
	} {
		got, err := parseDisk(tt.in)
		if err != nil || got != tt.want {
			t.Errorf("parseDisk(%q) = %+v, %v, want %+v", tt.in, got, err, tt.want)
		}
	}
	for _, in := range []string{"", ",/data", "x.img,/", "x.img,/..", "x.img,/a,/b", "x.img,data", "x.img,/a,sync"} {
		if got, err := parseDisk(in); !isInput(err) {
			t.Errorf("parseDisk(%q) = %+v, %v, want an input error", in, got, err)
		}
	}
	for _, in := range [][]string{{"x.img,/a", "y.img,/a"}, {"x.img,/a", "x.img,/b"}, {"x.img,/a,ro", "x.img"}} {
		if got, err := parseDisks(in); !isInput(err) {
			t.Errorf("parseDisks(%q) = %+v, %v, want an input error", in, got, err)
		}
	}
}

// A disk may be served by another process.
func TestDiskServer(t *testing.T) {
	d, err := parseDisk("nbd:unix:/tmp/a.sock,/data,ro")
	if err != nil {
		t.Fatal(err)
	}
	got := d.disk()
	if want := (qemu.Disk{Socket: "/tmp/a.sock", Format: qemu.Raw, ReadOnly: true}); got != want {
		t.Errorf("disk() = %+v, want %+v", got, want)
	}
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := checkDisk(&qemu.Disk{Socket: socket}); err != nil {
		t.Errorf("checkDisk of a socket: %v", err)
	}
	for _, bad := range []string{socket + "x", t.TempDir()} {
		if err := checkDisk(&qemu.Disk{Socket: bad}); !isInput(err) {
			t.Errorf("checkDisk(%q) = %v, want an input error", bad, err)
		}
	}
}

func TestDiskName(t *testing.T) {
	for index, want := range map[int]string{0: "vda", 1: "vdb", 25: "vdz", 26: "vdaa", 27: "vdab", 26 + 26*26: "vdaaa"} {
		if got := diskName(index); got != want {
			t.Errorf("diskName(%d) = %q, want %q", index, got, want)
		}
	}
}

func TestPlanDisks(t *testing.T) {
	o := testOptions()
	o.Disks = []string{"raw.img", "data.iso,/data,ro", "x.qcow2,/x"}
	p, err := newPlan(o, noKVM, terminal{})
	if err != nil {
		t.Fatal(err)
	}
	want := []image.Mount{
		{Device: "vdb", Path: "/data", ReadOnly: true, Source: "data.iso"},
		{Device: "vdc", Path: "/x", Source: "x.qcow2"},
	}
	if got := p.config.Mounts; len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("mounts = %+v, want %+v", got, want)
	}
	if got := len(p.machine.Disks); got != 3 {
		t.Errorf("%d disks, want 3", got)
	}
}

// qcow2 returns an image's header.
func qcow2(backing uint64, version uint32, features byte) []byte {
	b := make([]byte, 512)
	copy(b, "QFI\xfb")
	binary.BigEndian.PutUint32(b[4:], version)
	binary.BigEndian.PutUint64(b[8:], backing)
	b[79] = features
	return b
}

func TestCheckDisk(t *testing.T) {
	iso := make([]byte, 40<<10)
	copy(iso[16*2048:], "\x01CD001\x01")
	for _, tt := range []struct {
		name    string
		content []byte
		mode    os.FileMode
		disk    qemu.Disk
		format  string // "" if it is refused
		ro      bool
	}{
		{"raw", make([]byte, 4096), 0o644, qemu.Disk{}, qemu.Raw, false},
		{"iso", iso, 0o644, qemu.Disk{}, qemu.Raw, true},
		{"qcow2", qcow2(0, 3, 0), 0o644, qemu.Disk{}, qemu.QCOW2, false},
		{"qcow2 as raw", qcow2(0, 3, 0), 0o644, qemu.Disk{Format: qemu.Raw}, qemu.Raw, false},
		{"backing file", qcow2(4096, 2, 0), 0o644, qemu.Disk{}, "", false},
		{"external data", qcow2(0, 3, 4), 0o644, qemu.Disk{}, "", false},
		{"backing file asked for", qcow2(4096, 3, 0), 0o644, qemu.Disk{Format: qemu.QCOW2}, qemu.QCOW2, false},
		{"empty", nil, 0o644, qemu.Disk{}, "", false},
		{"no sectors", make([]byte, 1000), 0o644, qemu.Disk{}, "", false},
	} {
		d := tt.disk
		d.File = filepath.Join(t.TempDir(), "image")
		if err := os.WriteFile(d.File, tt.content, tt.mode); err != nil {
			t.Fatal(err)
		}
		err := checkDisk(&d)
		if tt.format == "" {
			if !isInput(err) {
				t.Errorf("%s: checkDisk = %v, want an input error", tt.name, err)
			}
			continue
		}
		if err != nil || d.Format != tt.format || d.ReadOnly != tt.ro {
			t.Errorf("%s: checkDisk = %+v, %v, want format %s, read-only %v", tt.name, d, err, tt.format, tt.ro)
		}
	}
	for _, file := range []string{t.TempDir(), "/no/such/file", "/dev/null"} {
		if err := checkDisk(&qemu.Disk{File: file}); !isInput(err) {
			t.Errorf("checkDisk(%s) = %v, want an input error", file, err)
		}
	}
}

// TestLockedDisk: QEMU's words about an image in use become one line.
func TestLockedDisk(t *testing.T) {
	stderr := `qemu-system-x86_64: -blockdev {"driver":"raw"}: Failed to get "write" lock
Is another process using the image [a b.img]?
`
	code, err := outcome(qemu.Status{Code: 1, Stderr: stderr}, nil, false, stopNone)
	if code != ExitMachine || err == nil || !strings.HasPrefix(err.Error(), "a b.img is in use") {
		t.Errorf("outcome = %d, %v, want %d and a line about the image", code, err, ExitMachine)
	}
}

func FuzzProbeDisk(f *testing.F) {
	f.Add(qcow2(0, 3, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := probeDisk(bytes.NewReader(b)); err != nil {
			t.Errorf("probeDisk: %v", err)
		}
	})
}
