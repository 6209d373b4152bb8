// Package iso makes a bootable CD image of a Kiln image: GRUB starts the image
// by the Multiboot2 protocol, and passes the run configuration as its module.
//
// GRUB's grub-mkrescue does the work, with GRUB for machines with BIOS and with
// UEFI.
package iso

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// maker is the program that makes CD images, and packages the packages of
// Debian and Ubuntu that have it and what it needs.
const (
	maker    = "grub-mkrescue"
	packages = "grub-common grub-pc-bin grub-efi-amd64-bin xorriso mtools"
)

// parts are GRUB's for the two kinds of firmware. grub-mkrescue does without one
// that is not there, and says nothing.
var parts = [...]string{"/usr/lib/grub/i386-pc", "/usr/lib/grub/x86_64-efi"}

// An Error says why there is no CD image.
type Error struct {
	Msg  string
	Hint string // "" if there is nothing to say
}

// Error implements error.
func (e *Error) Error() string { return e.Msg }

// menu is GRUB's configuration. The console is COM1's, as the image's own is,
// beside the screen's. There may be no screen: with gfxpayload GRUB does not look
// for a mode of it.
const menu = `set timeout=0
set gfxpayload=text
set default=0
menuentry "kiln" {
	multiboot2 /boot/kiln.img
	module2 /boot/runconfig.json
}
`

// Write makes the CD image output of the Kiln image at path, with the run
// configuration config, in JSON. dir is an existing, empty folder for what is
// made on the way. Nothing is left of an output that fails.
func Write(path string, config []byte, output, dir string) error {
	tool, err := exec.LookPath(maker)
	if err != nil {
		return &Error{maker + ": not found in PATH", "install the packages " + packages + ": sudo apt-get install " + packages}
	}
	for _, part := range parts {
		if _, err := os.Stat(part); err != nil {
			return &Error{err.Error(), "install the packages " + packages + ": sudo apt-get install " + packages}
		}
	}
	boot := filepath.Join(dir, "iso", "boot")
	if err := os.MkdirAll(filepath.Join(boot, "grub"), 0o755); err != nil {
		return err
	}
	if err := copyFile(path, filepath.Join(boot, "kiln.img")); err != nil {
		return err
	}
	for name, content := range map[string][]byte{"runconfig.json": config, "grub/grub.cfg": []byte(menu)} {
		if err := os.WriteFile(filepath.Join(boot, name), content, 0o644); err != nil {
			return err
		}
	}
	made := filepath.Join(dir, "made.iso")
	out, err := exec.Command(tool, "-o", made, filepath.Join(dir, "iso")).CombinedOutput()
	if err == nil {
		_, err = os.Stat(made) // it may fail without saying so
	}
	if err != nil {
		return &Error{fmt.Sprintf("%s failed: %v: %s", maker, err, lastLine(out)), "it needs the packages " + packages}
	}
	return move(made, output)
}

// lastLine returns the last line that a program wrote.
func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}

// move moves a file to output, by way of a file beside it where they are on
// different file systems. An output that exists stays.
func move(from, output string) error {
	if _, err := os.Lstat(output); err == nil {
		return &Error{output + " exists already", "choose another name: -N NAME"}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	near := output + ".new"
	if err := copyFile(from, near); err != nil {
		return errors.Join(err, os.RemoveAll(near))
	}
	return os.Rename(near, output)
}

// copyFile copies a file.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
