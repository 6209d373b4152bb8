package bootdisk

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// formats are the kinds of disk images, with qemu-img's arguments for those that
// it makes of a raw one. A VHD for Azure has a fixed size, to the byte what is
// asked for; a VMDK for import elsewhere is a compressed stream.
var formats = []struct {
	name, qemu string
	args       []string
}{
	{"raw", "raw", nil},
	{"qcow2", "qcow2", []string{"-c"}},
	{"vmdk", "vmdk", []string{"-o", "subformat=streamOptimized"}},
	{"vhd", "vpc", []string{"-o", "subformat=fixed,force_size"}},
}

// Formats returns the names of the formats.
func Formats() []string {
	var names []string
	for _, f := range formats {
		names = append(names, f.name)
	}
	return names
}

func formatNames() string { return strings.Join(Formats(), ", ") }

// QEMUFormat returns what QEMU calls a format.
func QEMUFormat(name string) string {
	for _, f := range formats {
		if f.name == name {
			return f.qemu
		}
	}
	return ""
}

// convert makes an image of a format of the raw one at path, and returns where
// that is.
func convert(path, format string) (string, error) {
	for _, f := range formats {
		if f.name != format || f.qemu == "raw" {
			continue
		}
		tool, err := exec.LookPath("qemu-img")
		if err != nil {
			return "", &Error{"qemu-img: not found in PATH", "install the package qemu-utils: sudo apt-get install qemu-utils; --format raw does without"}
		}
		out := path + "." + format
		args := append([]string{"convert", "-f", "raw", "-O", f.qemu}, f.args...)
		if text, err := exec.Command(tool, append(args, path, out)...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("qemu-img: %w: %s", err, lastLine(text))
		}
		return out, nil
	}
	return path, nil
}

// makeExt4 makes an empty file system in part of a file.
func makeExt4(path string, at extent) error {
	const program = "mke2fs"
	tool, err := exec.LookPath(program)
	for _, dir := range []string{"/usr/sbin/", "/sbin/"} { // not on every user's PATH
		if err != nil {
			tool, err = exec.LookPath(dir + program)
		}
	}
	if err != nil {
		return &Error{program + ": not found", "install the package e2fsprogs: sudo apt-get install e2fsprogs"}
	}
	out, err := exec.Command(tool, "-q", "-F", "-t", "ext4", "-L", "data",
		"-E", "offset="+strconv.FormatInt(at.start, 10), path, strconv.FormatInt(at.size>>10, 10)+"k").CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, lastLine(out))
	}
	return nil
}
