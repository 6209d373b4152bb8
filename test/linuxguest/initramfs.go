package linuxguest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// An Initramfs is the file system that Linux starts with. The zero value is an
// empty one.
type Initramfs struct {
	files map[string]string // guest path → host path
	text  map[string]string // guest path → contents; executable
}

func (fs *Initramfs) add(guest, host string) {
	if fs.files == nil {
		fs.files = map[string]string{}
	}
	fs.files[guest] = host
}

// AddFile adds a file of the host as guest path.
func (fs *Initramfs) AddFile(guest, host string) { fs.add(guest, host) }

// AddProgram adds a program as guest path, with its interpreter and shared
// libraries where the linker looks for them.
func (fs *Initramfs) AddProgram(ctx context.Context, guest, host string) {
	fs.add(guest, host)
	out, err := exec.CommandContext(ctx, "ldd", host).Output()
	if err != nil {
		return // ldd fails on a static program
	}
	for line := range strings.Lines(string(out)) {
		for field := range strings.FieldsSeq(line) {
			if field[0] == '/' {
				fs.add(field, field)
			}
		}
	}
}

// Write makes the archive, compressed like a distribution's. The kernel brings
// /dev/console itself.
func (fs *Initramfs) Write(ctx context.Context, out string) error {
	root, err := os.MkdirTemp("", "kiln-initramfs-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
	for guest, host := range fs.files {
		if err := install(filepath.Join(root, guest), host); err != nil {
			return err
		}
	}
	for guest, text := range fs.text {
		if err := os.WriteFile(filepath.Join(root, guest), []byte(text), 0o755); err != nil {
			return err
		}
	}
	for _, dir := range []string{"dev", "proc", "sys", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
	}
	return archive(ctx, root, out)
}

func install(to, from string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(dst, src); err != nil {
		dst.Close()
		return err
	}
	return dst.Close()
}

func archive(ctx context.Context, root, out string) error {
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	defer f.Close()
	var errs bytes.Buffer
	cmd := exec.CommandContext(ctx, "sh", "-c", "find . | busybox cpio -o -H newc | gzip -9")
	cmd.Dir, cmd.Stdout, cmd.Stderr = root, f, &errs
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("packing %s: %w\n%s", out, err, &errs)
	}
	return f.Close()
}
