package gdb

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/erofs/go-erofs"

	"kiln/image"
)

// Extract puts the programs and libraries in the image at path into dir, each
// under its own path, and the symbolic links that lead to them. Nothing is
// written outside of dir, whatever the image has.
func Extract(path, dir string) error {
	img, err := image.OpenUnchecked(path)
	if err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	section, err := img.RootFS(f)
	if err != nil || section == nil {
		return err
	}
	fsys, err := erofs.Open(section)
	if err != nil {
		return fmt.Errorf("%s: its root file system: %w", path, err)
	}
	if err := extractFiles(fsys, dir); err != nil {
		return fmt.Errorf("%s: its root file system: %w", path, err)
	}
	return nil
}

// extractFiles is Extract for a root file system.
func extractFiles(fsys fs.FS, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return extractOne(root, fsys, name, d)
	})
}

// extractOne puts one file into root, if it is a folder, a link or an ELF file.
func extractOne(root *os.Root, fsys fs.FS, name string, d fs.DirEntry) error {
	switch d.Type() {
	case fs.ModeDir:
		if err := root.Mkdir(name, 0o755); name != "." && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return nil
	case fs.ModeSymlink:
		target, err := fs.ReadLink(fsys, name)
		if err != nil {
			return err
		}
		if path.IsAbs(target) { // from the image's root, which is not this machine's
			up := strings.Repeat("../", strings.Count(name, "/"))
			target = up + strings.TrimLeft(target, "/")
		}
		if target == "" {
			target = "."
		}
		return root.Symlink(target, name)
	case 0:
		return extractELF(root, fsys, name)
	}
	return nil
}

// extractELF copies the file of that name if it is ELF.
func extractELF(root *os.Root, fsys fs.FS, name string) error {
	in, err := fsys.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	magic := make([]byte, len(elf.ELFMAG))
	if n, err := io.ReadFull(in, magic); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || err == nil && string(magic[:n]) != elf.ELFMAG {
		return nil
	} else if err != nil {
		return err
	}
	out, err := root.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, io.MultiReader(bytes.NewReader(magic), in))
	return errors.Join(err, out.Close())
}

// Source returns the folder of Kiln's source that belongs to the kiln command
// at path, "" if there is none: build.sh puts the command into its folder bin.
func Source(command string) string {
	dir := filepath.Dir(filepath.Dir(command))
	if b, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil && strings.HasPrefix(string(b), "module kiln\n") {
		return dir
	}
	return ""
}
