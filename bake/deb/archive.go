package deb

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// maxControl bounds the control part of an archive, in bytes: the largest of
// Debian's are a hundredth of it.
const maxControl = 64 << 20

// readArchive returns the package in a .deb (deb(5)).
func readArchive(ctx context.Context, name string) (*Package, error) {
	files, err := archiveControl(ctx, name)
	if err != nil {
		return nil, err
	}
	paragraphs, err := readControl(bytes.NewReader(files["control"]))
	if err != nil || len(paragraphs) != 1 {
		return nil, errorf("%s: its control file is not one paragraph", name)
	}
	p, err := newPackage(paragraphs[0])
	if err != nil {
		return nil, errorf("%s: %v", name, err)
	}
	if p == nil {
		return nil, errorf("%s: is for %s; Kiln runs programs for amd64", name, paragraphs[0]["Architecture"])
	}
	p.archive = name
	return p, nil
}

// archiveControl returns the files of an archive's control part by name.
func archiveControl(ctx context.Context, name string) (map[string][]byte, error) {
	if _, err := os.Stat(name); err != nil {
		return nil, err
	}
	out, err := runTool(ctx, "", "dpkg-deb", "--ctrl-tarfile", name)
	if err != nil {
		return nil, errorf("%s: %v", name, err)
	}
	files, left := map[string][]byte{}, int64(maxControl)
	for r := tar.NewReader(bytes.NewReader(out)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, errorf("%s: %v", name, err)
		}
		if left -= h.Size; h.Typeflag != tar.TypeReg || left < 0 {
			continue
		}
		if files[path.Clean(h.Name)], err = io.ReadAll(r); err != nil {
			return nil, errorf("%s: %v", name, err)
		}
	}
}

// unpack puts the regular files of an archive into dir and returns all its
// files but docs.
func unpack(ctx context.Context, name, dir string) (files []File, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	top, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer top.Close()
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", name)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	files, err = unpackTar(pipe, top)
	if err != nil {
		cmd.Process.Kill() // it may wait for its output to be read
	}
	ended := cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, errorf("%s: %v", name, err)
	case ended != nil:
		return nil, errorf("%s: %s", name, complaint("", stderr.String(), ended))
	}
	return files, nil
}

// unpackTar puts the regular files of a tar into top, and returns all but docs.
// Links and folders are not made there: no file's path leads through one.
func unpackTar(r io.Reader, top *os.Root) ([]File, error) {
	var files []File
	at := map[string]int{} // of files, by path
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			_, err := io.Copy(io.Discard, r) // padding, so that the writer ends well
			return files, err
		}
		if err != nil {
			return nil, err
		}
		f := File{Path: path.Clean("/" + h.Name), Mode: h.FileInfo().Mode(), Time: h.ModTime, UID: uint32(h.Uid), GID: uint32(h.Gid)}
		if isDoc(f.Path) {
			continue
		}
		switch h.Typeflag {
		case tar.TypeReg:
			// By number: the paths of two may be one in the file system of top.
			own := fmt.Sprint(len(files))
			f.Host, f.Size = filepath.Join(top.Name(), own, path.Base(f.Path)), h.Size
			err = writeFile(top, own, path.Base(f.Path), t)
		case tar.TypeDir, tar.TypeFifo:
		case tar.TypeSymlink:
			f.Link = h.Linkname
		case tar.TypeLink:
			i, ok := at[path.Clean("/"+h.Linkname)]
			if !ok {
				return nil, fmt.Errorf("%s is a link to %s, which is not there", h.Name, h.Linkname)
			}
			f.Mode, f.Host, f.Size, f.Link = files[i].Mode, files[i].Host, files[i].Size, files[i].Link
		default:
			continue // the guest has devices of its own
		}
		if err != nil {
			return nil, err
		}
		at[f.Path] = len(files)
		files = append(files, f)
	}
}

// writeFile writes a file's content to the folder dir of top.
func writeFile(top *os.Root, dir, name string, content io.Reader) error {
	if err := top.Mkdir(dir, 0o755); err != nil {
		return err
	}
	w, err := top.OpenFile(path.Join(dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, content)
	return errors.Join(err, w.Close())
}

// typeBits are the modes that an image keeps.
const typeBits = fs.ModeType | fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky

// script returns the text of the script that runs when the package is
// installed, "" if there is none.
func (p *Package) script(ctx context.Context) (string, error) {
	if !p.Installed() {
		files, err := archiveControl(ctx, p.archive)
		return string(files["postinst"]), err
	}
	text, err := os.ReadFile(p.info + ".postinst")
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(text), err
}

// Files returns the files of one of the set's packages but docs. Those that
// this machine lacks, though the package is installed, are told to missing.
func (s *Set) Files(ctx context.Context, p *Package, missing func(path string)) ([]File, error) {
	if p.Installed() {
		return s.database.files(p, s.has, missing)
	}
	return unpack(ctx, p.archive, filepath.Join(s.dir, "files-"+strings.ReplaceAll(p.Name, ".", "_")))
}

// has reports whether the set has the package of a name.
func (s *Set) has(name string) bool {
	for _, p := range s.Packages {
		if p.Name == name {
			return true
		}
	}
	return false
}
