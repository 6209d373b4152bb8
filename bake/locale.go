package bake

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// localeDir is the one locale beside C that programs may expect everywhere.
// glibc reads it from files; musl has it built in.
const localeDir = "/usr/lib/locale/C.utf8"

// localeCalls are the names, as a table of strings has them, by which programs
// and libraries ask for a locale. libstdc++ has the last.
var localeCalls = [][]byte{[]byte("\x00setlocale\x00"), []byte("\x00newlocale\x00"), []byte("\x00__newlocale\x00")}

// namesLocale reports whether a dynamic file's table of strings has a call for
// a locale.
func namesLocale(strtab []byte) bool {
	for _, call := range localeCalls {
		if bytes.Contains(strtab, call) {
			return true
		}
	}
	return false
}

// addLocale adds glibc's files for the locale C.UTF-8, 400 kB, if o is or may
// be a program or library that asks for a locale.
func (b *baker) addLocale(o object, l *linkage) error {
	if b.root.lookup(localeDir) != nil {
		return nil
	}
	switch {
	case l.interp == "" && len(l.needed) == 0:
		// A static program has no table of what it calls; but the C
		// library that is in it has the folder's name, or is another.
		if text, err := os.ReadFile(o.host); err != nil {
			return ioError(err)
		} else if o.from != fromProgram || !bytes.Contains(text, []byte("/usr/lib/locale")) {
			return nil
		}
	// The C library itself has the calls for others.
	case !l.locale || strings.HasPrefix(filepath.Base(o.guest), "libc.so."), b.loader != nil && b.loader.musl:
		return nil
	}
	// The files are of the C library's version.
	dir := localeDir
	for _, top := range []string{b.options.Root, b.options.LibraryRoot} {
		if libc := b.hostFile("/lib/x86_64-linux-gnu/libc.so.6"); top != "" && under(libc, top) {
			dir = filepath.Join(top, localeDir)
		}
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil // then the program finds that there is none
	}
	return b.addDir(dir, localeDir, fromLibrary, nil)
}
