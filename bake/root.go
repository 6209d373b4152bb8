package bake

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"sort"
	"strings"

	"kiln/bake/erofs"
	"kiln/image"
	"kiln/image/buildnote"
)

// An origin says why a file is in the root file system. Of two files for one
// path, the one with the higher origin stays.
type origin int

const (
	fromBase origin = iota
	fromRuntime
	fromLibrary
	fromPackage
	fromTraced
	fromProgram
	fromAdded
)

var originNames = [...]string{"base", "runtime", "library", "package", "traced", "program", "added"}

// An entry is one file of the root file system.
type entry struct {
	mode     fs.FileMode // type and permissions
	from     origin
	host     string // regular file: where its content is, unless data has it
	data     []byte
	size     int64
	mtime    int64 // seconds since 1970, 0 for none
	pinned   bool  // mtime is what another file names: it may not change
	uid, gid uint32
	link     string           // target of a symbolic link
	sum      string           // SHA-256, known once the content was read
	build    *buildnote.Build // of ELF files that say
}

// A root is the root file system as it grows. Paths are absolute and clean
// guest paths; those given to its methods may lead through symbolic links,
// those of entries do not.
type root struct {
	entries map[string]*entry
}

// newRoot returns a root with one directory, itself.
func newRoot() *root {
	return &root{entries: map[string]*entry{"/": {mode: fs.ModeDir | 0o755}}}
}

// maxLinks bounds the symbolic links of one path, as Linux does
// (include/linux/namei.h, MAXSYMLINKS).
const maxLinks = 40

// resolve returns p with the symbolic links of its directories followed, and
// if last is set also its own. What does not exist is no link.
func (r *root) resolve(p string, last bool) (string, error) {
	done, todo := "/", strings.Split(strings.Trim(path.Clean(p), "/"), "/")
	for links := 0; len(todo) > 0; {
		next := path.Join(done, todo[0])
		todo = todo[1:]
		e := r.entries[next]
		switch {
		case e == nil || e.mode&fs.ModeSymlink == 0 || len(todo) == 0 && !last:
			if e != nil && len(todo) > 0 && !e.mode.IsDir() {
				return "", inputErrorf(p, "%s is not a directory in the image", next)
			}
			done = next
			continue
		}
		if links++; links > maxLinks {
			return "", inputErrorf(p, "too many symbolic links in the image")
		}
		if path.IsAbs(e.link) {
			done = "/"
		}
		todo = append(strings.Split(strings.Trim(e.link, "/"), "/"), todo...)
	}
	return done, nil
}

// lookup returns the entry that p leads to, or nil.
func (r *root) lookup(p string) *entry {
	p, err := r.resolve(p, true)
	if err != nil {
		return nil
	}
	return r.entries[p]
}

// hostFile returns the host's file whose content p has, "" if there is none.
func (r *root) hostFile(p string) string {
	if e := r.lookup(p); e != nil {
		return e.host
	}
	return ""
}

// put sets the entry at p, and makes its directories.
func (r *root) put(p string, e *entry) error {
	p, err := r.resolve(p, false)
	if err != nil {
		return err
	}
	if under(p, mountPoints...) && e.from != fromBase {
		return inputErrorf(p, "cannot be in the image: the guest mounts a file system there")
	}
	if old := r.entries[p]; old != nil {
		if old.mode.IsDir() != e.mode.IsDir() {
			if old.mode.IsDir() && e.mode&fs.ModeSymlink != 0 {
				// A host's link to a directory that the guest has: both
				// names lead to the same files, or to files of both.
				return nil
			}
			return inputErrorf(p, "is both a directory and a file in the image")
		}
		if old.from > e.from || old.same(e) {
			return nil
		}
	}
	if dir := path.Dir(p); r.entries[dir] == nil {
		if err := r.put(dir, &entry{mode: fs.ModeDir | 0o755, from: e.from}); err != nil {
			return err
		}
	}
	r.entries[p] = e
	return nil
}

// same reports whether both are the same file.
func (e *entry) same(o *entry) bool {
	return e.mode == o.mode && e.host == o.host && e.link == o.link && string(e.data) == string(o.data)
}

func (r *root) mkdir(p string, mode fs.FileMode, from origin) error {
	// A link to a directory is one.
	if e := r.lookup(p); e != nil && e.mode.IsDir() {
		p, err := r.resolve(p, true)
		if err != nil {
			return err
		}
		return r.put(p, &entry{mode: mode | fs.ModeDir, from: from})
	}
	return r.put(p, &entry{mode: mode | fs.ModeDir, from: from})
}

func (r *root) symlink(p, target string, from origin) error {
	return r.put(p, &entry{mode: fs.ModeSymlink | 0o777, link: target, from: from})
}

// file adds the host's regular file at p.
func (r *root) file(p, host string, st fs.FileInfo, from origin) error {
	return r.put(p, &entry{mode: st.Mode() & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid), host: host, size: st.Size(), mtime: st.ModTime().Unix(), from: from})
}

// pipe makes a named pipe at p.
func (r *root) pipe(p string, mode fs.FileMode, from origin) error {
	return r.put(p, &entry{mode: fs.ModeNamedPipe | mode.Perm(), from: from})
}

// text adds a small file of ours.
func (r *root) text(p, content string, from origin) error {
	return r.put(p, &entry{mode: 0o644, data: []byte(content), size: int64(len(content)), from: from})
}

// paths returns all paths in order.
func (r *root) paths() []string {
	out := make([]string, 0, len(r.entries))
	for p := range r.entries {
		out = append(out, p)
	}
	sort.Strings(out)
	return out
}

// plan lays out the file system.
func (r *root) plan() (*erofs.Plan, error) {
	t := erofs.New()
	names := map[*entry]string{} // the first of each
	for _, p := range r.paths() {
		e := r.entries[p]
		if e.mode&fs.ModeNamedPipe != 0 {
			continue // the guest makes it
		}
		var err error
		switch first, again := names[e]; {
		case again:
			err = t.Link(p, first)
		case e.mode.IsDir():
			err = t.Mkdir(p, e.mode)
		case e.mode&fs.ModeSymlink != 0:
			err = t.Symlink(p, e.link)
		default:
			err = t.Create(p, e.mode, e.mtime, e.size, e.open)
		}
		names[e] = p
		if err == nil && e.uid|e.gid != 0 {
			err = t.Chown(p, e.uid, e.gid)
		}
		if err == nil && e.mtime != 0 && !e.mode.IsRegular() {
			err = t.Chtime(p, e.mtime)
		}
		if err != nil {
			return nil, err
		}
	}
	return t.Plan()
}

// pipes lists the named pipes.
func (r *root) pipes() []image.Pipe {
	var out []image.Pipe
	for _, p := range r.paths() {
		if e := r.entries[p]; e.mode&fs.ModeNamedPipe != 0 {
			out = append(out, image.Pipe{Path: p, Mode: uint32(e.mode.Perm()), UID: e.uid, GID: e.gid})
		}
	}
	return out
}

// emptySum is the SHA-256 of no bytes (FIPS 180-4).
const emptySum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// files lists what is in the file system but directories. It is complete when
// the contents were read.
func (r *root) files() []image.File {
	var out []image.File
	for _, p := range r.paths() {
		if e := r.entries[p]; !e.mode.IsDir() && e.mode&fs.ModeNamedPipe == 0 {
			if e.mode.IsRegular() && e.size == 0 {
				e.sum = emptySum // nothing of it is read
			}
			out = append(out, image.File{Path: p, Source: originNames[e.from], Link: e.link, Size: e.size, SHA256: e.sum, Build: e.build})
		}
	}
	return out
}

// open opens the content of a regular file, whose checksum is known when it
// was read to its end.
func (e *entry) open() (io.ReadCloser, error) {
	h := &hashReader{e: e, hash: sha256.New(), Reader: strings.NewReader(string(e.data))}
	if e.host != "" {
		f, err := os.Open(e.host)
		if err != nil {
			return nil, ioError(err)
		}
		h.Reader, h.file = f, f
	}
	return h, nil
}

// A hashReader reads an entry's content, and notes its checksum.
type hashReader struct {
	io.Reader
	e    *entry
	n    int64 // bytes read
	hash hash.Hash
	file *os.File // nil if the content is in memory
}

// Read implements io.Reader.
func (h *hashReader) Read(b []byte) (int, error) {
	n, err := h.Reader.Read(b)
	h.hash.Write(b[:n]) // never fails
	h.n += int64(n)
	if h.n > h.e.size || err == io.EOF && h.n < h.e.size {
		return n, inputErrorf(h.e.host, "changed its size while it was read")
	}
	if err == io.EOF {
		h.e.sum = hex.EncodeToString(h.hash.Sum(nil))
	} else if err != nil {
		err = ioError(err)
	}
	return n, err
}

// Close implements io.Closer.
func (h *hashReader) Close() error {
	if h.file == nil {
		return nil
	}
	return h.file.Close()
}

// under reports whether p is one of the folders or lies in one.
func under(p string, folders ...string) bool {
	for _, f := range folders {
		if p == f || strings.HasPrefix(p, f+"/") {
			return true
		}
	}
	return false
}
