package bake

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"kiln/image"
)

// An Owner is the user and the group that a path of the image belongs to, with
// all below it.
type Owner struct {
	Path     string
	UID, GID uint32
}

// ParseOwner reads PATH=UID[:GID]. Without GID it is the same number.
func ParseOwner(text string) (Owner, error) {
	p, numbers, ok := strings.Cut(text, "=")
	u, err := ParseUser(numbers)
	if !ok || !path.IsAbs(p) || err != nil {
		return Owner{}, inputErrorf(text, "an owner is given as PATH=UID[:GID], with an absolute path and numbers")
	}
	return Owner{path.Clean(p), u.UID, u.GID}, nil
}

// ParseUser reads UID[:GID]. Without GID it is the same number.
func ParseUser(text string) (*image.User, error) {
	uid, gid, both := strings.Cut(text, ":")
	if !both {
		gid = uid
	}
	u, uerr := strconv.ParseUint(uid, 10, 32)
	g, gerr := strconv.ParseUint(gid, 10, 32)
	if uerr != nil || gerr != nil {
		return nil, inputErrorf(text, "a user is given as UID[:GID], in numbers")
	}
	return &image.User{UID: uint32(u), GID: uint32(g), Groups: []uint32{uint32(g)}}, nil
}

// setOwners gives files to those that they belong to.
func (b *baker) setOwners() error {
	for _, o := range b.options.Owners {
		if b.root.lookup(o.Path) == nil {
			return inputErrorf(o.Path, "does not exist in the image, so it cannot belong to user %d", o.UID)
		}
		top, err := b.root.resolve(o.Path, true)
		if err != nil {
			return err
		}
		for p, e := range b.root.entries {
			if under(p, top) {
				e.uid, e.gid = o.UID, o.GID
			}
		}
	}
	return nil
}

// addRoot adds what the folder of Options.Root has.
func (b *baker) addRoot() error {
	if b.options.Root == "" {
		return nil
	}
	host, err := filepath.Abs(b.options.Root)
	if err != nil {
		return ioError(err)
	}
	if host, err = filepath.EvalSymlinks(host); err != nil {
		return ioError(err)
	}
	b.options.Root = host
	return b.addDir(host, "/", fromAdded, func(rel string) bool { return under(rel, mountPoints...) })
}

// inRoot reports whether a file is in the folder of Options.Root, which is
// complete in itself.
func (b *baker) inRoot(host string) bool { return b.options.Root != "" && under(host, b.options.Root) }

// hostFile returns the host's file that the image has at p, or that
// Options.LibraryRoot would put there; "" if there is none.
func (b *baker) hostFile(p string) string {
	if host := b.root.hostFile(p); host != "" || b.options.LibraryRoot == "" {
		return host
	}
	return b.inLibraryRoot(p)
}

// inLibraryRoot follows p in Options.LibraryRoot, whose links lead to places
// in it.
func (b *baker) inLibraryRoot(p string) string {
	done, todo := "/", strings.Split(strings.Trim(path.Clean(p), "/"), "/")
	for links := 0; len(todo) > 0; {
		next := path.Join(done, todo[0])
		todo = todo[1:]
		host := filepath.Join(b.options.LibraryRoot, next)
		st, err := os.Lstat(host)
		if err != nil {
			// Old packages put into /lib what others look for in
			// /usr/lib, and vice versa: the two are one.
			if moved, ok := strings.CutPrefix(next, "/lib"); ok && links < maxLinks {
				links++
				done, todo = "/", append(strings.Split(strings.Trim("/usr/lib"+moved, "/"), "/"), todo...)
				continue
			}
			return ""
		}
		if st.Mode()&fs.ModeSymlink == 0 {
			done = next
			continue
		}
		link, err := os.Readlink(host)
		if links++; links > maxLinks || err != nil {
			return ""
		}
		if path.IsAbs(link) {
			done = "/"
		}
		todo = append(strings.Split(strings.Trim(link, "/"), "/"), todo...)
	}
	return filepath.Join(b.options.LibraryRoot, done)
}
