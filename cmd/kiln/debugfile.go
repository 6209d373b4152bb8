package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"kiln/image"
	"kiln/image/debuginfo"
)

// debugDirs are the folders in which files of package debuginfo are looked for:
// where the user says, where build.sh puts them, beside the command, and where
// an installed command has what is not a command.
func (a *app) debugDirs() ([]string, error) {
	var dirs []string
	if dir := a.getenv("KILN_DEBUG"); dir != "" {
		dirs = append(dirs, dir)
	}
	self, err := os.Executable()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(self)
	return append(dirs, filepath.Join(dir, "debug"), filepath.Join(filepath.Dir(dir), "lib", "kiln", "debug")), nil
}

// debugParts returns what debuggers need to know of the ring-0 programs in the
// image at path, the kernel program first.
func (a *app) debugParts(path string) ([]debuginfo.Part, error) {
	dirs, err := a.debugDirs()
	if err != nil {
		return nil, err
	}
	var parts []debuginfo.Part
	for _, program := range []string{image.ProgramKernel, image.ProgramMetal} {
		code, err := image.ReadCode(path, program)
		if err != nil {
			return nil, err
		}
		id := debuginfo.ID(code)
		file, err := debuginfo.Find(dirs, id)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, &debugMissing{path, program, debuginfo.FileName(id), dirs}
		}
		if err != nil {
			return nil, err
		}
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		parts = append(parts, debuginfo.Part{Name: program, File: b})
	}
	return parts, nil
}

// debugMissing says that what describes a program of an image is not here.
type debugMissing struct {
	image, program, name string
	dirs                 []string
}

func (e *debugMissing) Error() string {
	return fmt.Sprintf("%s: what its %s program's symbols are, %s, is in none of %s", e.image, e.program, e.name, strings.Join(e.dirs, ", "))
}

// usage returns the error for the user.
func (e *debugMissing) usage() error {
	return usageError{e.Error(), "bake the image again with this kiln, or copy bin/debug of the kiln that baked it to one of these folders"}
}

// writeDebugFile writes to the file out one ELF file with symbols, line tables
// and frame information of both ring-0 programs in the image at path.
func (a *app) writeDebugFile(path, out string) error {
	parts, err := a.debugParts(path)
	if missing, ok := errors.AsType[*debugMissing](err); ok {
		return missing.usage()
	}
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := debuginfo.Merge(&b, parts); err != nil {
		return err
	}
	return replaceFile(out, &b)
}

// replaceFile gives the file at path what r has, all or nothing.
func replaceFile(path string, r io.Reader) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
