package bake

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// A reason is why a file is added, and for whom.
type reason struct {
	from origin
	tree bool // found in a directory: what it lacks is no error

	// parents are what made a library be loaded, the program first: their
	// run paths count for it (ld.so(8)).
	parents []*linkage
}

// addHost adds what the host has at the absolute path host, at the same path
// in the image, with the symbolic links that lead there. It returns the path
// at their end, for files that of the file itself.
func (b *baker) addHost(host string, why reason) (string, error) {
	end, err := b.addLinksTo(host, why.from)
	if err != nil {
		return "", err
	}
	return end, b.addAt(end, end, why)
}

// addLinksTo adds the symbolic links on the way to the absolute path host,
// which exists, and returns the path at their end.
func (b *baker) addLinksTo(host string, from origin) (string, error) {
	done, todo := "/", strings.Split(strings.Trim(path.Clean(host), "/"), "/")
	for links := 0; len(todo) > 0; {
		p := path.Join(done, todo[0])
		todo = todo[1:]
		st, err := os.Lstat(p)
		if err != nil {
			return "", ioError(err)
		}
		if st.Mode()&fs.ModeSymlink == 0 {
			done = p
			continue
		}
		if links++; links > maxLinks {
			return "", inputErrorf(host, "too many symbolic links")
		}
		target, err := b.addLink(p, p, from)
		if err != nil {
			return "", err
		}
		done = "/"
		todo = append(strings.Split(strings.Trim(target, "/"), "/"), todo...)
	}
	return done, nil
}

// addLink adds the host's symbolic link at guest, and returns the absolute
// host path that it names. Only its last element is looked at.
func (b *baker) addLink(host, guest string, from origin) (string, error) {
	link, err := os.Readlink(host)
	if err != nil {
		return "", ioError(err)
	}
	target := link
	if !path.IsAbs(link) {
		// In the image the link may lie in another directory: /lib/x is
		// /usr/lib/x there.
		target = path.Join(path.Dir(host), link)
		if strings.HasPrefix(link, "..") {
			if dir, err := filepath.EvalSymlinks(path.Dir(host)); err == nil {
				target = path.Join(dir, link)
			}
		}
		if at, err := b.root.resolve(guest, false); err == nil && host == guest && path.Dir(at) != path.Dir(host) {
			link = target
		}
	}
	if err := b.root.symlink(guest, link, from); err != nil {
		return "", err
	}
	return target, b.root.dateFrom(guest, host, from)
}

// addAt adds the host's file or directory, which is no symbolic link, at
// guest.
func (b *baker) addAt(host, guest string, why reason) error {
	st, err := os.Lstat(host)
	if err != nil {
		return ioError(err)
	}
	switch {
	case st.IsDir():
		return b.addDir(host, guest, why.from, nil)
	case st.Mode().IsRegular():
		return b.addFile(host, guest, st, why)
	case st.Mode()&fs.ModeNamedPipe != 0:
		return b.root.pipe(guest, st.Mode(), why.from)
	default:
		return inputErrorf(host, "neither a file nor a directory")
	}
}

// addFile adds a regular file, whose needs are looked at later.
func (b *baker) addFile(host, guest string, st fs.FileInfo, why reason) error {
	if err := b.root.file(guest, host, st, why.from); err != nil {
		return err
	}
	b.pending = append(b.pending, object{host: host, guest: guest, mode: st.Mode(), reason: why})
	return nil
}

// addDir adds a directory with what is in it, but where skip says so.
func (b *baker) addDir(host, guest string, from origin, skip func(rel string) bool) error {
	return filepath.WalkDir(host, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return ioError(err)
		}
		rel := strings.TrimPrefix(p, host)
		if skip != nil && skip(rel) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		st, err := d.Info()
		if err != nil {
			return ioError(err)
		}
		to := path.Join(guest, rel)
		switch {
		case d.IsDir():
			if err := b.root.mkdir(to, st.Mode().Perm()|st.Mode()&fs.ModeSticky, from); err != nil {
				return err
			}
			b.root.date(to, st.ModTime(), from)
			return nil
		case st.Mode().IsRegular():
			return b.addFile(p, to, st, reason{from: from, tree: true})
		case st.Mode()&fs.ModeSymlink != 0:
			return b.addTreeLink(host, p, to, from)
		case st.Mode()&fs.ModeNamedPipe != 0:
			return b.root.pipe(to, st.Mode(), from)
		default:
			b.progress("left out: %s is a %s", p, fileKind(st.Mode()))
			return nil
		}
	})
}

// addTreeLink adds a symbolic link from within directory top. A file outside
// that it leads to comes along, or the link would lead nowhere.
func (b *baker) addTreeLink(top, host, guest string, from origin) error {
	target, err := b.addLink(host, guest, from)
	if err != nil || under(target, top) || b.inRoot(host) {
		return err
	}
	if host != guest && !isAbsLink(host) {
		return nil // relative to a place that the image does not have
	}
	st, err := os.Stat(target)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // dangling on the host, too
	}
	if err != nil {
		return ioError(err)
	}
	if st.Mode().IsRegular() && !under(target, mountPoints...) {
		_, err = b.addHost(target, reason{from: from, tree: true})
	}
	return err
}

func isAbsLink(p string) bool {
	link, err := os.Readlink(p)
	return err == nil && path.IsAbs(link)
}

// fileKind names the kind of a file that cannot be in an image.
func fileKind(m fs.FileMode) string {
	switch {
	case m&fs.ModeSocket != 0:
		return "socket"
	case m&fs.ModeDevice != 0:
		return "device"
	default:
		return "special file"
	}
}

// addUser adds what the user names: HOSTPATH[:GUESTPATH].
func (b *baker) addUser(arg string) error {
	host, guest, mapped := strings.Cut(arg, ":")
	if host == "" || mapped && !path.IsAbs(guest) {
		return inputErrorf(arg, "not of the form HOSTPATH[:GUESTPATH] with an absolute GUESTPATH")
	}
	abs, err := filepath.Abs(host)
	if err != nil {
		return ioError(err)
	}
	if !mapped {
		_, err := b.addHost(abs, reason{from: fromAdded})
		return err
	}
	file, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return ioError(err)
	}
	if st, err := os.Stat(file); err == nil && !st.IsDir() && strings.HasSuffix(guest, "/") {
		guest = path.Join(guest, filepath.Base(abs))
	}
	return b.addAt(file, path.Clean(guest), reason{from: fromAdded})
}
