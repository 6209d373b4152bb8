package bootdisk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// grubMaker is the program that makes GRUBs, and grubPackages the packages of
// Debian and Ubuntu that have it and its parts for both kinds of firmware.
const (
	grubMaker    = "grub-mkimage"
	grubPackages = "grub-common grub-pc-bin grub-efi-amd64-bin"
	grubDir      = "/usr/lib/grub"
)

// biosConsole lets GRUB say what goes wrong on the serial port, too: many clouds
// have no screen. UEFI's console is there already.
const biosConsole = "serial --unit=0 --speed=115200\n" +
	"terminal_output console serial\n"

// grubCommands is what both GRUBs do.
const grubCommands = "set gfxpayload=text\n" +
	"multiboot2 " + imagePath + "\n" +
	"module2 " + configPath + "\n" +
	"boot\n"

// grubModules are the parts of GRUB that the commands and the disk need.
var grubModules = []string{"part_gpt", "fat", "multiboot2", "boot"}

// grub is GRUB for both kinds of firmware.
type grub struct {
	boot []byte // boot sector for BIOS
	core []byte // what that loads
	efi  []byte // EFI application
}

// makeGRUB makes both.
func makeGRUB() (g grub, err error) {
	dir, err := os.MkdirTemp("", "kiln-grub-")
	if err != nil {
		return g, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if g.boot, err = os.ReadFile(filepath.Join(grubDir, "i386-pc", "boot.img")); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return g, noGRUB(err.Error())
		}
		return g, err
	}
	// The root is the partition that the files are in: on BIOS machines that of
	// the disk that was booted; UEFI tells GRUB where it came from.
	if g.core, err = runGRUB(dir, "i386-pc", "(,gpt2)/boot", biosConsole, "biosdisk", "serial", "terminal"); err != nil {
		return g, err
	}
	g.efi, err = runGRUB(dir, "x86_64-efi", "/boot", "")
	return g, err
}

// runGRUB makes the GRUB for one kind of firmware, which begins with the commands
// first and has more modules.
func runGRUB(dir, format, prefix, first string, more ...string) ([]byte, error) {
	tool, err := exec.LookPath(grubMaker)
	if err != nil {
		return nil, noGRUB(grubMaker + ": not found in PATH")
	}
	commands, out := filepath.Join(dir, "commands"), filepath.Join(dir, format)
	if err := os.WriteFile(commands, []byte(first+grubCommands), 0o600); err != nil {
		return nil, err
	}
	args := append([]string{"-O", format, "-p", prefix, "-c", commands, "-o", out}, grubModules...)
	if text, err := exec.Command(tool, append(args, more...)...).CombinedOutput(); err != nil {
		return nil, noGRUB(fmt.Sprintf("%s failed: %v: %s", grubMaker, err, lastLine(text)))
	}
	return os.ReadFile(out)
}

func noGRUB(msg string) error {
	return &Error{msg, "install the packages " + grubPackages + ": sudo apt-get install " + grubPackages}
}

// Places in GRUB's boot sector and in the first sector of what it loads, which
// take the number of a sector (GRUB 2, include/grub/i386/pc/boot.h and
// grub-core/boot/i386/pc).
const (
	bootNext   = 0x5c  // in the boot sector, 8 bytes: where the rest begins
	bootCode   = 0x1b8 // the end of code in the boot sector; a disk's number follows
	coreBlocks = 0x1f4 // in the rest, 8 bytes: where its second sector is; 2 bytes: how many follow
)

// embed writes GRUB for BIOS machines: the boot sector's code, and the rest to a
// partition of its own.
func (g grub) embed(disk io.WriterAt, at extent) error {
	core := append([]byte(nil), g.core...)
	core = append(core, make([]byte, -len(core)&(sector-1))...)
	if len(g.boot) != sector || len(core) <= sector || int64(len(core)) > at.size {
		return fmt.Errorf("GRUB's parts have %d and %d bytes, which is not what was to be expected", len(g.boot), len(g.core))
	}
	boot := append([]byte(nil), g.boot...)
	binary.LittleEndian.PutUint64(boot[bootNext:], uint64(at.start/sector))
	binary.LittleEndian.PutUint64(core[coreBlocks:], uint64(at.start/sector)+1)
	binary.LittleEndian.PutUint16(core[coreBlocks+8:], uint16(len(core)/sector-1))
	_, err := disk.WriteAt(boot[:bootCode], 0)
	if err == nil {
		_, err = disk.WriteAt(core, at.start)
	}
	return err
}

// lastLine returns the last line that a program wrote.
func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}
