// Package deb reads Debian packages (Debian policy 4.6): those that are
// installed on this machine, from dpkg's database, and others, which apt-get
// downloads. It finds what a package depends on, and lists the files.
//
// Nothing of a package is run. Of the script that would run when the package is
// installed, literal commands are read: which users it makes, which folders,
// which alternatives (Script).
package deb

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"
)

// An Error says what is wrong with a package or with its name. Its message is
// one line.
type Error struct{ msg string }

// Error implements error.
func (e *Error) Error() string { return e.msg }

func errorf(format string, args ...any) *Error { return &Error{fmt.Sprintf(format, args...)} }

// A Package is one binary package of this machine's architecture or of all.
type Package struct {
	Name, Version string

	archive string // the .deb; "" if the package is installed
	info    string // installed: path of its files in dpkg's database, without their suffixes

	depends   []string // Pre-Depends and Depends, as they stand
	provides  []provided
	conffiles map[string]string // path → MD5 of the package's own content
}

// A provided name is a virtual package (Debian policy §7.5).
type provided struct{ name, version string }

// Installed reports whether the package is this machine's.
func (p *Package) Installed() bool { return p.archive == "" }

// A File is one file of a package.
type File struct {
	Path     string      // absolute, as the package names it
	Mode     fs.FileMode // type and permissions
	Host     string      // regular file: where its content is
	Size     int64       // of the content, bytes
	Link     string      // target of a symbolic link
	Time     time.Time   // of the last change
	UID, GID uint32

	// Changed says that an installed package's file of configuration is not
	// as the package has it.
	Changed bool
}

// docs are folders that no program at work needs: what Debian's slim images
// leave out. Copyright files stay.
var docs = []string{
	"/usr/share/doc", "/usr/share/man", "/usr/share/info", "/usr/share/locale", "/usr/share/groff",
	"/usr/share/lintian", "/usr/share/linda", "/usr/share/bug", "/usr/share/doc-base",
}

// isDoc reports whether a package's path is left out.
func isDoc(p string) bool {
	for _, d := range docs {
		if p == d {
			return true
		}
		if rest, ok := strings.CutPrefix(p, d+"/"); ok {
			// Folders that only a copyright file is in come with it.
			return d != docs[0] || path.Base(rest) != "copyright"
		}
	}
	return false
}
