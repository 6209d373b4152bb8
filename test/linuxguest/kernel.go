// Package linuxguest boots Debian's kernel for virtual machines in QEMU, with
// an initramfs that holds what is to run: Linux to compare Kiln with (bench),
// or to exchange disks with (test/interop).
//
// The kernel's package is downloaded by apt and unpacked, never installed.
package linuxguest

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// kernelPackage depends on the current one.
const kernelPackage = "linux-image-cloud-amd64"

// A Kernel is an unpacked kernel package.
type Kernel struct {
	Version string // "6.1.0-56-cloud-amd64"
	BzImage string // as the package has it
	Vmlinux string // unpacked, with a PVH entry: boots faster
	Modules string // folder kernel/ of its modules
}

// Fetch downloads and unpacks the current kernel package into dir, or
// uses what is there.
func Fetch(ctx context.Context, dir string) (Kernel, error) {
	if k, err := findKernel(dir); err == nil {
		return k, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Kernel{}, err
	}
	name, err := realKernelPackage(ctx)
	if err != nil {
		return Kernel{}, err
	}
	get := exec.CommandContext(ctx, "apt-get", "download", name)
	get.Dir = dir
	if out, err := get.CombinedOutput(); err != nil {
		return Kernel{}, fmt.Errorf("apt-get download %s: %w\n%s", name, err, out)
	}
	debs, err := filepath.Glob(filepath.Join(dir, name+"_*.deb"))
	if err != nil || len(debs) == 0 {
		return Kernel{}, fmt.Errorf("apt-get download %s left no file in %s", name, dir)
	}
	if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", debs[0], dir).CombinedOutput(); err != nil {
		return Kernel{}, fmt.Errorf("dpkg-deb -x %s: %w\n%s", debs[0], err, out)
	}
	boot, err := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
	if err != nil || len(boot) != 1 {
		return Kernel{}, fmt.Errorf("%s has no kernel in boot", name)
	}
	if err := extractVmlinux(ctx, boot[0], filepath.Join(dir, "vmlinux")); err != nil {
		return Kernel{}, err
	}
	return findKernel(dir)
}

// findKernel describes the kernel that was unpacked into dir before.
func findKernel(dir string) (Kernel, error) {
	boot, err := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
	if err != nil || len(boot) != 1 {
		return Kernel{}, fmt.Errorf("no kernel in %s", dir)
	}
	version := strings.TrimPrefix(filepath.Base(boot[0]), "vmlinuz-")
	k := Kernel{
		Version: version,
		BzImage: boot[0],
		Vmlinux: filepath.Join(dir, "vmlinux"),
		Modules: filepath.Join(dir, "lib/modules", version, "kernel"),
	}
	_, err = os.Stat(k.Vmlinux)
	return k, err
}

// realKernelPackage resolves the meta package.
func realKernelPackage(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "apt-cache", "depends", kernelPackage).Output()
	if err != nil {
		return "", fmt.Errorf("apt-cache depends %s: %w", kernelPackage, err)
	}
	for line := range strings.Lines(string(out)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "Depends: "); ok {
			return name, nil
		}
	}
	return "", fmt.Errorf("%s depends on no kernel", kernelPackage)
}

// An unpacker reads one compression from the standard input.
type unpacker struct {
	magic string
	argv  []string
}

// unpackers are for the compressions that Linux offers for its payload.
var unpackers = []unpacker{
	{"\x02\x21\x4c\x18", []string{"lz4", "-dc"}},
	{"\xfd7zXZ\x00", []string{"xz", "-dc"}},
	{"\x28\xb5\x2f\xfd", []string{"zstd", "-dc"}},
	{"\x1f\x8b", []string{"gzip", "-dc"}},
}

// extractVmlinux writes the ELF that a bzImage carries. See Linux,
// Documentation/arch/x86/boot.rst: setup_sects, payload_offset,
// payload_length.
func extractVmlinux(ctx context.Context, bzImage, out string) error {
	data, err := os.ReadFile(bzImage)
	if err != nil {
		return err
	}
	if len(data) < 0x250 || string(data[0x202:0x206]) != "HdrS" {
		return fmt.Errorf("%s is no bzImage", bzImage)
	}
	setup := (int(data[0x1f1]) + 1) * 512
	start := setup + int(binary.LittleEndian.Uint32(data[0x248:]))
	end := start + int(binary.LittleEndian.Uint32(data[0x24c:]))
	if end > len(data) {
		return fmt.Errorf("%s: payload ends at %#x, the file at %#x", bzImage, end, len(data))
	}
	payload := data[start:end]
	i := slices.IndexFunc(unpackers, func(u unpacker) bool { return bytes.HasPrefix(payload, []byte(u.magic)) })
	if i < 0 {
		return fmt.Errorf("%s: unknown compression %x", bzImage, payload[:min(8, len(payload))])
	}
	argv := unpackers[i].argv
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdin = bytes.NewReader(payload)
	elf, err := cmd.Output()
	// The uncompressed size follows the stream, which unpackers complain
	// of after they have written everything: look at what came out.
	if !bytes.HasPrefix(elf, []byte("\x7fELF")) {
		return fmt.Errorf("%s did not unpack the kernel in %s: %v", argv[0], bzImage, err)
	}
	// Its being there means that all is (findKernel).
	if err := os.WriteFile(out+".new", elf, 0o644); err != nil {
		return err
	}
	return os.Rename(out+".new", out)
}
