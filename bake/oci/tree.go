package oci

import (
	"archive/tar"
	"io/fs"
	"path"
	"strings"
)

// A File is one file of an image. Two paths with the same File are hard links.
type File struct {
	Mode     fs.FileMode // type and permissions
	UID, GID uint32
	MTime    int64  // seconds since 1970
	Link     string // target of a symbolic link
	Host     string // regular file: where its content was put
	Size     int64  // of the content, bytes
}

// A Tree is the files of an image by absolute, clean path. The paths lead
// through no symbolic links.
type Tree map[string]*File

// maxLinks bounds the symbolic links of one path, as Linux does
// (include/linux/namei.h, MAXSYMLINKS).
const maxLinks = 40

// Resolve returns p with the symbolic links of its directories followed, and
// if last is set its own. What does not exist is no link. It reports false for
// too many links.
func (t Tree) Resolve(p string, last bool) (string, bool) {
	done, todo := "/", strings.Split(strings.Trim(path.Clean("/"+p), "/"), "/")
	for links := 0; len(todo) > 0; {
		next := path.Join(done, todo[0])
		todo = todo[1:]
		f := t[next]
		if f == nil || f.Mode&fs.ModeSymlink == 0 || len(todo) == 0 && !last {
			done = next
			continue
		}
		if links++; links > maxLinks {
			return "", false
		}
		if path.IsAbs(f.Link) {
			done = "/"
		}
		todo = append(strings.Split(strings.Trim(f.Link, "/"), "/"), todo...)
	}
	return done, true
}

// Lookup returns the file that p leads to, or nil.
func (t Tree) Lookup(p string) *File {
	if p, ok := t.Resolve(p, true); ok {
		return t[p]
	}
	return nil
}

// remove removes p and all below it. Only a directory has something below it,
// for which the whole tree is searched.
func (t Tree) remove(p string) {
	old := t[p]
	delete(t, p)
	if old != nil && old.Mode.IsDir() {
		t.removeBelow(p)
	}
}

// removeBelow removes all below p.
func (t Tree) removeBelow(p string) {
	prefix := strings.TrimSuffix(p, "/") + "/"
	for q := range t {
		if strings.HasPrefix(q, prefix) && q != prefix {
			delete(t, q)
		}
	}
}

// put puts f at p, in place of what was there; a directory keeps what is below
// it. Missing directories are made.
func (t Tree) put(p string, f *File) {
	if old := t[p]; old != nil && !(old.Mode.IsDir() && f.Mode.IsDir()) {
		t.remove(p)
	}
	t.makeDirs(path.Dir(p))
	t[p] = f
}

// makeDirs makes p and the directories above it, from the top: what is no
// directory there gives way, with all below it.
func (t Tree) makeDirs(p string) {
	if p != "/" {
		t.makeDirs(path.Dir(p))
	}
	if f := t[p]; f != nil && f.Mode.IsDir() {
		return
	}
	t.remove(p)
	t[p] = &File{Mode: fs.ModeDir | 0o755}
}

// Names that mean that something is gone (image-spec, layer.md, "Whiteouts").
const (
	whiteoutPrefix = ".wh."
	whiteoutOpaque = ".wh..wh..opq"
)

// A change is one entry of a layer.
type change struct {
	path string // absolute and clean, as it is in the layer
	file *File
	hard string // of a hard link: the path that it is another name of
}

// apply puts a layer's changes upon the tree: first what it takes away of the
// layers below, then what it adds. It returns the path of a change that cannot
// be made, "" if all were.
func (t Tree) apply(changes []change) string {
	for _, c := range changes {
		name, gone := strings.CutPrefix(path.Base(c.path), whiteoutPrefix)
		if !gone {
			continue
		}
		dir, ok := t.Resolve(path.Dir(c.path), true)
		switch {
		case !ok:
			return c.path
		case path.Base(c.path) == whiteoutOpaque:
			t.removeBelow(dir)
		case name != "" && name != "." && name != "..":
			t.remove(path.Join(dir, name)) // below dir: never the root
		}
	}
	for _, c := range changes {
		if strings.HasPrefix(path.Base(c.path), whiteoutPrefix) {
			continue
		}
		if !t.add(c) {
			return c.path
		}
	}
	return ""
}

// add makes one change. It reports false if it cannot.
func (t Tree) add(c change) bool {
	p, ok := t.Resolve(c.path, false)
	if !ok || p == "/" && (c.file == nil || !c.file.Mode.IsDir()) {
		return false
	}
	if c.hard == "" {
		t.put(p, c.file)
		return true
	}
	old, ok := t.Resolve(c.hard, false)
	if !ok || t[old] == nil || t[old].Mode.IsDir() {
		return false
	}
	if p != old {
		t.put(p, t[old])
	}
	return true
}

// fileOf returns what a tar header describes, nil for what an image cannot
// have: devices, and what is not a file.
func fileOf(h *tar.Header) *File {
	f := &File{Mode: h.FileInfo().Mode(), UID: uint32(h.Uid), GID: uint32(h.Gid), MTime: h.ModTime.Unix()}
	switch h.Typeflag {
	case tar.TypeReg:
		f.Size = h.Size
	case tar.TypeDir, tar.TypeFifo:
	case tar.TypeSymlink:
		f.Link = h.Linkname
	default:
		return nil
	}
	return f
}
