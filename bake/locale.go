package bake

import (
	"os"
	"path/filepath"
)

// localeDir is glibc's locale C.UTF-8, 400 kB.
const localeDir = "/usr/lib/locale/C.utf8"

// addLocale adds glibc's files for the locale C.UTF-8.
func (b *baker) addLocale(*linkage) error {
	if b.isGiven(localeDir) || b.loader != nil && b.loader.musl {
		return nil
	}
	// The files are of the C library's version.
	dir := localeDir
	for _, top := range []string{b.options.Root, b.options.LibraryRoot} {
		if libc := b.hostFile("/lib/x86_64-linux-gnu/libc.so.6"); top != "" && under(libc, top) {
			dir = filepath.Join(top, localeDir)
		}
	}
	if _, err := os.Stat(dir); err != nil {
		return nil // then the program finds that there is none
	}
	return b.addDir(dir, localeDir, fromLibrary, nil)
}
