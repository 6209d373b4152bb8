package bake

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// glibcVersionText is how the C library names its version in its own text.
var glibcVersionText = regexp.MustCompile(`GNU C Library [^\n]* release version 2\.(\d+)`)

// glibcMinor returns the number behind "2." in the version of the C library
// that is the host's file, or 0 if it has none.
func glibcMinor(libc string) int {
	text, err := os.ReadFile(libc)
	if err != nil {
		return 0
	}
	match := glibcVersionText.FindSubmatch(text)
	if match == nil {
		return 0
	}
	n, err := strconv.Atoi(string(match[1]))
	if err != nil {
		return 0
	}
	return n
}

// addNameServices adds the modules by which a glibc before 2.34 reads /etc and
// asks name servers. Later ones have them built in (glibc's NEWS, 2.34).
func (b *baker) addNameServices(*linkage) error {
	if b.loader == nil || b.loader.musl {
		return nil
	}
	self := []*linkage{{host: b.loader.interp, guest: b.loader.interp}}
	libc, ok := b.loader.find("libc.so.6", self, b.libraryPath())
	if minor := glibcMinor(libc.host); !ok || minor == 0 || minor >= 34 {
		return nil
	}
	for _, name := range []string{"libnss_files.so.2", "libnss_dns.so.2"} {
		if f, ok := b.loader.find(name, self, b.libraryPath()); ok {
			if err := b.addLibrary(f, b.loader, reason{from: fromLibrary, parents: self}); err != nil {
				return err
			}
		}
	}
	return nil
}

// gconvDirs are where glibc has its character sets (iconv(1)).
var gconvDirs = []string{"/usr/lib/x86_64-linux-gnu/gconv", "/usr/lib64/gconv"}

// addCharsets adds character sets beside UTF-8 and ASCII, which are built in.
// A program that converts itself gets all, 8 MB. For one of its libraries those
// are added that glibc counts among its core: Latin-1 and -9, UTF-7, -16, -32
// and the like, whose list is gconv-modules; the others are in
// gconv-modules.d (glibc's iconvdata, since 2.34).
func (b *baker) addCharsets(l *linkage) error {
	if b.loader != nil && b.loader.musl {
		return nil
	}
	for _, dir := range gconvDirs {
		list := path.Join(dir, "gconv-modules")
		text, err := os.ReadFile(list)
		if err != nil || b.isGiven(list) {
			continue // not on this machine, or the user's own
		}
		if _, err := os.Stat(path.Join(dir, "gconv-modules.d")); err != nil || l.interp != "" {
			if err := b.addFolder(dir, nil); err != nil {
				return err
			}
			continue
		}
		paths := []string{list} // not gconv-modules.cache, which names all
		for line := range strings.Lines(string(text)) {
			// module FROM TO FILE COST
			if f := strings.Fields(line); len(f) >= 4 && f[0] == "module" {
				paths = append(paths, path.Join(dir, f[3]+".so"))
			}
		}
		if err := b.addIfThere(paths...); err != nil {
			return err
		}
		// A program that is looked at later may need all.
		b.met["character sets"] = false
	}
	return nil
}

// pamDirs are where PAM's modules are.
var pamDirs = []string{"/lib/x86_64-linux-gnu/security", "/usr/lib64/security"}

// addPAM adds what authenticates users of the program: the configuration of the
// service of its name and of "other", and the modules that these name (pam.d(5)).
func (b *baker) addPAM(l *linkage) error {
	p := pam{b, map[string]bool{}}
	for _, service := range []string{path.Base(b.options.Program), path.Base(l.guest), "other"} {
		if err := p.addService(service); err != nil {
			return err
		}
	}
	return b.addIfThere("/etc/security", "/etc/login.defs")
}

// A pam adds PAM services.
type pam struct {
	*baker
	done map[string]bool
}

// addService adds a service's configuration, which may include others'.
func (p pam) addService(name string) error {
	file := path.Join("/etc/pam.d", name)
	if p.done[name] || strings.Contains(name, "/") {
		return nil
	}
	p.done[name] = true
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // "other" is for it
	}
	if err != nil {
		return ioError(err)
	}
	if err := p.addIfThere(file); err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		for i, word := range strings.Fields(line) {
			if strings.HasSuffix(word, ".so") {
				if err := p.addModule(word); err != nil {
					return err
				}
			} else if i > 0 {
				// @include NAME, or TYPE include NAME; no other word
				// is the name of a file there.
				if err := p.addService(word); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// addModule adds a module of PAM's.
func (p pam) addModule(name string) error {
	if path.IsAbs(name) {
		return p.addIfThere(name)
	}
	for _, dir := range pamDirs {
		if err := p.addIfThere(path.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}
