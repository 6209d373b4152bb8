package run

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"kiln/image"
	"kiln/run/qemu"
)

// disk is the value of one -b.
type disk struct {
	file     string
	path     string // mount point in the guest; "" for none
	format   string // of qemu's; "" for what the file says
	readOnly bool
}

// diskHint shows how -b is written.
const diskHint = "write -b FILE, or -b FILE,/MOUNTPOINT[,ro]; ,raw or ,qcow2 names the format"

// parseDisks reads the values of -b.
func parseDisks(values []string) ([]disk, error) {
	var disks []disk
	for _, v := range values {
		d, err := parseDisk(v)
		if err != nil {
			return nil, err
		}
		for _, other := range disks {
			if d.path != "" && d.path == other.path {
				return nil, inputError(fmt.Sprintf("-b %s: %s is mounted on %s already", v, other.file, d.path), "")
			}
			if d.file == other.file && !(d.readOnly && other.readOnly) {
				return nil, inputError(fmt.Sprintf("-b %s: the file is there twice", v), "two disks may share a file if both are ,ro")
			}
		}
		disks = append(disks, d)
	}
	return disks, nil
}

// parseDisk reads FILE[,/MOUNTPOINT][,ro|rw][,raw|qcow2], the first half as
// Rumprun has it. A FILE may have commas.
func parseDisk(v string) (disk, error) {
	d := disk{file: v}
	for {
		i := strings.LastIndexByte(d.file, ',')
		if i < 0 {
			break
		}
		option := d.file[i+1:]
		switch {
		case option == "ro":
			d.readOnly = true
		case option == "rw":
		case option == qemu.Raw, option == qemu.QCOW2:
			d.format = option
		case strings.HasPrefix(option, "/") && d.path == "":
			if d.path = path.Clean(option); d.path == "/" {
				return disk{}, inputError(fmt.Sprintf("-b %s: the root is the image's; mount the disk below it", v), diskHint)
			}
		case strings.HasPrefix(option, "/"):
			return disk{}, inputError(fmt.Sprintf("-b %s: two mount points", v), diskHint)
		default:
			if _, err := os.Stat(d.file); err != nil {
				return disk{}, inputError(fmt.Sprintf("-b %s: %q is neither a mount point nor an option, and there is no file %s", v, option, d.file), diskHint)
			}
			return d, nil
		}
		d.file = d.file[:i]
	}
	if d.file == "" {
		return disk{}, inputError(fmt.Sprintf("-b %s: no file is named", v), diskHint)
	}
	return d, nil
}

// nbdPrefix begins a FILE that is the Unix socket of an NBD server, as QEMU
// writes it.
const nbdPrefix = "nbd:unix:"

// disk returns what QEMU gets.
func (d disk) disk() qemu.Disk {
	if socket, ok := strings.CutPrefix(d.file, nbdPrefix); ok {
		return qemu.Disk{Socket: socket, Format: cmp.Or(d.format, qemu.Raw), ReadOnly: d.readOnly}
	}
	return qemu.Disk{File: d.file, Format: d.format, ReadOnly: d.readOnly}
}

// mount returns what the guest gets of disk number index.
func (d disk) mount(index int) image.Mount {
	return image.Mount{Device: diskName(index), Path: d.path, ReadOnly: d.readOnly, Source: d.file}
}

// diskName returns the guest's name for disk number index: vda, …, vdz, vdaa.
func diskName(index int) string {
	name := ""
	for i := index; i >= 0; i = i/26 - 1 {
		name = string(rune('a'+i%26)) + name
	}
	return "vd" + name
}

// checkDisk looks at the file of a disk, and fills in what it tells: its
// format, and that a CD image is only read.
func checkDisk(d *qemu.Disk) error {
	if d.Socket != "" {
		// Only a client learns what a server has; QEMU is one.
		if st, err := os.Stat(d.Socket); err != nil {
			return fileError(d.Socket, err)
		} else if st.Mode().Type() != fs.ModeSocket {
			return inputError(fmt.Sprintf("-b: %s is no socket", d.Socket), "")
		}
		return nil
	}
	f, err := os.Open(d.File)
	if err != nil {
		return fileError(d.File, err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return fileError(d.File, err)
	}
	if !st.Mode().IsRegular() && st.Mode().Type() != fs.ModeDevice {
		return inputError(fmt.Sprintf("-b: %s is neither a file nor a block device", d.File), "a folder of the host goes into a guest by -v")
	}
	kind, err := probeDisk(f)
	if err != nil {
		return fileError(d.File, err)
	}
	if d.Format == "" {
		if kind == kindBacked {
			// A guest could have written this to a raw image, to see
			// another file of the host's next time.
			return inputError(fmt.Sprintf("-b: %s refers to another image", d.File), "if that is meant: -b "+d.File+",…,qcow2")
		}
		d.Format = qemu.Raw
		if kind == kindQCOW2 {
			d.Format = qemu.QCOW2
		}
	}
	if d.Format == qemu.Raw && st.Mode().IsRegular() && (st.Size() == 0 || st.Size()%512 != 0) {
		return inputError(fmt.Sprintf("-b: %s is no disk image: %d bytes are no whole sectors", d.File, st.Size()), "")
	}
	d.ReadOnly = d.ReadOnly || kind == kindISO
	if !d.ReadOnly && unix.Access(d.File, unix.W_OK) != nil {
		return inputError(fmt.Sprintf("-b: %s may not be written", d.File), "to only read it: -b "+d.File+",…,ro")
	}
	return nil
}

func fileError(name string, err error) *Error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	return inputError(fmt.Sprintf("-b: cannot read %s: %v", name, err), "")
}

// kind is what an image's first bytes say.
type kind int

const (
	kindRaw    kind = iota
	kindISO         // ISO 9660
	kindQCOW2       // on its own
	kindBacked      // QCOW2 upon another image
)

// probeDisk recognises an image.
func probeDisk(r io.ReaderAt) (kind, error) {
	// QEMU docs/interop/qcow2.txt: magic, version, offset of the backing
	// file's name; incompatible feature bit 2 is an external data file.
	var b [80]byte
	n, err := r.ReadAt(b[:], 0)
	if err != nil && err != io.EOF {
		return kindRaw, err
	}
	if n >= 16 && string(b[:4]) == "QFI\xfb" {
		external := binary.BigEndian.Uint32(b[4:]) >= 3 && b[79]&(1<<2) != 0
		if binary.BigEndian.Uint64(b[8:]) != 0 || external {
			return kindBacked, nil
		}
		return kindQCOW2, nil
	}
	// ECMA-119 §8: the first volume descriptor is in sector 16.
	if n, err = r.ReadAt(b[:6], 16*2048); err != nil && err != io.EOF {
		return kindRaw, err
	}
	if n == 6 && string(b[1:6]) == "CD001" {
		return kindISO, nil
	}
	return kindRaw, nil
}
