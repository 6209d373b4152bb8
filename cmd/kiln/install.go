package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"kiln/cc"
)

// installTools makes the names of all tools for the kiln command at self under
// root, where Rumprun's build has them. It returns the names' folder, and the
// line by which a shell finds them. lines returns what that line reads.
func installTools(self, root string, lines func(dir string) string) (dir, forShell string, err error) {
	if root, err = filepath.Abs(root); err != nil {
		return "", "", err
	}
	dir = filepath.Join(root, "rumprun", "bin")
	config := filepath.Join(root, "obj-amd64-hw", "config-PATH.sh")
	for _, d := range []string{dir, filepath.Dir(config)} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return "", "", err
		}
	}
	if err := linkTools(dir, self); err != nil {
		return "", "", err
	}
	if err := link(filepath.Join(dir, "kiln"), self); err != nil {
		return "", "", err
	}
	if err := os.WriteFile(config, []byte(lines(dir)), 0o644); err != nil {
		return "", "", err
	}
	return dir, ". " + shellQuote(config), nil
}

// linkTools makes the tools' names in dir, links to target, where they are
// missing.
func linkTools(dir, target string) error {
	for _, name := range append(cc.Names(), rumprunNames...) {
		if err := link(filepath.Join(dir, name), target); err != nil {
			return err
		}
	}
	return nil
}

// link makes name a symbolic link to target. Only a link may be there before.
func link(name, target string) error {
	switch old, err := os.Readlink(name); {
	case err == nil && old == target:
		return nil
	case err == nil: // a link to another kiln
		if err := os.Remove(name); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s is in the way: %w", name, err)
	}
	if err := os.Symlink(target, name); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}
