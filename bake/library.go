package bake

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// A loader is one dynamic loader and where it looks for libraries.
type loader struct {
	interp string
	musl   bool
	dirs   []string // that it searches by itself
	conf   []string // that the host's cache or the user adds; the image has no cache
	path   string   // musl's file of directories, or ""

	// inImage returns the host's file that the image has, or could have, at
	// a path; "" for none.
	inImage func(guest string) string
}

// loaderFor returns what is known of a loader from its name.
func (b *baker) loaderFor(interp string) *loader {
	l := &loader{interp: interp, musl: strings.HasPrefix(path.Base(interp), "ld-musl-"), inImage: b.hostFile}
	if l.musl {
		l.dirs, l.path = muslPath(interp)
		return l
	}
	l.dirs = glibcDirs
	for _, d := range slices.Concat(ldConf("/etc/ld.so.conf"), b.options.LibraryDirs) {
		if !slices.Contains(l.dirs, d) {
			l.conf = append(l.conf, d)
		}
	}
	return l
}

// muslOwn are the libraries that musl's loader is itself, without their "lib"
// (ldso/dynlink.c, load_library).
var muslOwn = []string{"c.", "pthread.", "rt.", "m.", "dl.", "util.", "xnet."}

// provides reports whether the loader itself is the library.
func (l *loader) provides(name string) bool {
	rest, ok := strings.CutPrefix(name, "lib")
	return l.musl && ok && slices.ContainsFunc(muslOwn, func(own string) bool { return strings.HasPrefix(rest, own) })
}

// A found library is where the loader finds it, on the host and in the image.
type found struct {
	host, guest string
	cached      bool // only through the cache, which the image does not have
}

// find looks for library name as the loader does for the object whose chain
// of linkages is given, the object itself last (ld.so(8)).
func (l *loader) find(name string, chain []*linkage, env []string) (found, bool) {
	if strings.Contains(name, "/") {
		if host := l.inImage(name); path.IsAbs(name) && isLibrary(host) {
			return found{host: host, guest: name}, true
		}
		return found{host: name, guest: name}, path.IsAbs(name) && isLibrary(name)
	}
	self := chain[len(chain)-1]
	try := func(of *linkage, dirs []string) (found, bool) {
		for _, d := range dirs {
			host, guest := expand(d, of.host), expand(d, of.guest)
			if in := l.inImage(path.Join(guest, name)); path.IsAbs(guest) && in != "" && isLibrary(in) {
				return found{host: in, guest: path.Join(guest, name)}, true
			}
			if path.IsAbs(host) && isLibrary(path.Join(host, name)) {
				return found{host: path.Join(host, name), guest: path.Join(guest, name)}, true
			}
		}
		return found{}, false
	}
	for _, at := range l.order(chain, env) {
		if f, ok := try(at.of, at.dirs); ok {
			return f, true
		}
	}
	f, ok := try(self, l.conf)
	f.cached = true
	return f, ok
}

// A place is directories that are searched, and whose run path they are.
type place struct {
	of   *linkage
	dirs []string
}

// order returns where a library is looked for, in order, for the last of
// chain: as glibc does (ld.so(8)), or musl (ldso/dynlink.c, load_library).
func (l *loader) order(chain []*linkage, env []string) []place {
	self := chain[len(chain)-1]
	var paths []place // of those that made it be loaded
	if l.musl {
		// The environment comes first. The kinds of run path are one: the
		// new one hides the old, and both count for what is loaded later.
		for _, c := range slices.Backward(chain) {
			dirs := c.runpath
			if len(dirs) == 0 {
				dirs = c.rpath
			}
			paths = append(paths, place{c, dirs})
		}
		return slices.Concat([]place{{self, env}}, paths, []place{{self, l.dirs}})
	}
	// A run path of the old kind counts for what a library needs, too, but
	// not beside one of the new kind.
	if len(self.runpath) == 0 {
		for _, c := range slices.Backward(chain) {
			if len(c.runpath) == 0 {
				paths = append(paths, place{c, c.rpath})
			}
		}
	}
	return append(paths, place{self, env}, place{self, self.runpath}, place{self, l.dirs})
}

// expand replaces the loader's variables in a directory of a run path; file is
// the object that has the run path.
func expand(dir, file string) string {
	for _, v := range [][2]string{
		{"ORIGIN", path.Dir(file)}, {"LIB", "lib/x86_64-linux-gnu"}, {"PLATFORM", "x86_64"},
	} {
		dir = strings.ReplaceAll(dir, "${"+v[0]+"}", v[1])
		dir = strings.ReplaceAll(dir, "$"+v[0], v[1])
	}
	return path.Clean(dir)
}

// isLibrary reports whether there is a library at p that an x86-64 program can
// load. The loader, too, passes over others and looks further.
func isLibrary(p string) bool {
	f, err := os.Open(p)
	if err != nil {
		return false
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return false
	}
	_, err = parseLinkage(f, st.Size(), p)
	return err == nil
}

// addNeeds adds what the ELF file o needs: the loader and the libraries.
func (b *baker) addNeeds(o object, l *linkage) error {
	ld := b.loader
	if l.interp != "" {
		var err error
		if ld, err = b.addLoader(o, l.interp); err != nil {
			return err
		}
	}
	if ld == nil {
		// A library among the files of a program that loads none.
		ld = b.loaderFor(defaultLoader)
	}
	chain := append(slices.Clip(o.parents), l)
	for _, name := range l.needed {
		if ld.provides(name) {
			continue
		}
		f, ok := ld.find(name, chain, b.libraryPath())
		switch {
		case ok:
			if err := b.addLibrary(f, ld, reason{from: fromLibrary, tree: o.tree, parents: chain}); err != nil {
				return err
			}
		case o.tree && b.hasNamed(name):
			// In a folder that the loader does not search: the program
			// loads it first, by its path, as Java does.
		case o.tree:
			b.progress("warning: %s needs library %s, which is not on this machine", o.host, name)
		default:
			return inputErrorf(o.host, "needs library %s, which is not on this machine", name)
		}
	}
	return nil
}

// hasNamed reports whether the image has a file of that name anywhere.
func (b *baker) hasNamed(name string) bool {
	for p := range b.root.entries {
		if path.Base(p) == name {
			return true
		}
	}
	return false
}

// defaultLoader is glibc's, by its ABI (System V ABI, AMD64 supplement, §5.2.1).
const defaultLoader = "/lib64/ld-linux-x86-64.so.2"

// libraryPath is what the image's environment tells the loader.
func (b *baker) libraryPath() []string {
	for _, e := range b.options.Env {
		if v, ok := strings.CutPrefix(e, "LD_LIBRARY_PATH="); ok {
			return strings.FieldsFunc(v, func(r rune) bool { return r == ':' || r == ';' })
		}
	}
	return nil
}

// addLoader adds the dynamic loader of o, and what belongs to it.
func (b *baker) addLoader(o object, interp string) (*loader, error) {
	if ld := b.loaders[interp]; ld != nil {
		return ld, nil
	}
	if err := b.addInterp(o, interp); err != nil {
		return nil, err
	}
	ld := b.loaderFor(interp)
	b.loaders[interp] = ld
	if b.loader == nil {
		b.loader = ld
	}
	if ld.path != "" && b.root.lookup(ld.path) == nil {
		if _, err := b.addHost(ld.path, reason{from: fromLibrary}); err != nil {
			return nil, err
		}
	}
	if ld.musl {
		return ld, nil
	}
	// glibc opens it by itself, to cancel threads and to trace stacks.
	self := []*linkage{{host: interp, guest: interp}}
	if f, ok := ld.find("libgcc_s.so.1", self, nil); ok {
		return ld, b.addLibrary(f, ld, reason{from: fromLibrary, parents: self})
	}
	return ld, nil
}

// addInterp adds the loader's own file.
func (b *baker) addInterp(o object, interp string) error {
	switch host := b.hostFile(interp); {
	case b.root.hostFile(interp) != "" && isLibrary(host):
		return nil
	case isLibrary(host):
		return b.addLibrary(found{host: host, guest: interp}, nil, reason{from: fromLibrary})
	case isLibrary(interp):
		_, err := b.addHost(interp, reason{from: fromLibrary})
		return err
	}
	return inputErrorf(o.host, "needs the loader %s, which is not on this machine", interp)
}

// addLibrary adds a library where the loader finds it.
func (b *baker) addLibrary(f found, ld *loader, why reason) error {
	if b.root.lookup(f.guest) == nil {
		if f.host == f.guest {
			if _, err := b.addHost(f.host, why); err != nil {
				return err
			}
		} else {
			file, err := filepath.EvalSymlinks(f.host)
			if err != nil {
				return ioError(err)
			}
			if err := b.addAt(file, f.guest, why); err != nil {
				return err
			}
		}
	}
	if !f.cached {
		return nil
	}
	// Without the host's cache the loader would not look there: name the
	// library in the directory where it finds the C library.
	self := []*linkage{{}}
	libc, ok := ld.find("libc.so.6", self, nil)
	if !ok || libc.cached {
		return inputErrorf(f.host, "the loader %s would not find it: no libc.so.6 in its directories", ld.interp)
	}
	link := path.Join(path.Dir(libc.guest), path.Base(f.guest))
	if b.root.lookup(link) != nil {
		return nil
	}
	return b.root.symlink(link, f.guest, fromLibrary)
}
