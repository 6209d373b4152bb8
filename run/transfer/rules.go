package transfer

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// State is what is known of a path.
type State struct {
	Exists bool
	Folder bool
	Path   string // its own, with no link in it; "" if it does not exist
}

// A Target is where a copy goes, and what it is called there.
type Target struct {
	Dir  string
	Name string // "." for what is in a folder, without the folder
}

// Place returns where a copy of source goes, which is a folder or not, if the user
// names dest, which is in state s. Both are as the user wrote them; in a guest,
// dest is absolute. The rules are docker cp's:
//
//	file   → folder            into it, by its own name
//	file   → file              in its place
//	file   → nothing           as dest; dest/ is an error
//	folder → folder            into it, by its own name; of source/. what is in it
//	folder → file              an error
//	folder → nothing           as dest
func Place(source string, folder bool, dest string, s State) (Target, error) {
	switch {
	case s.Exists && s.Folder && folder && IsContents(source):
		return Target{dest, "."}, nil
	case s.Exists && s.Folder:
		return Target{dest, filepath.Base(source)}, nil
	case s.Exists && folder:
		return Target{}, fmt.Errorf("%s is no folder: a folder cannot be copied there", dest)
	case s.Exists && strings.HasSuffix(dest, "/"):
		return Target{}, fmt.Errorf("%s is no folder", dest)
	case s.Exists:
		return Target{filepath.Dir(s.Path), filepath.Base(s.Path)}, nil
	case !folder && (strings.HasSuffix(dest, "/") || IsContents(dest)):
		return Target{}, fmt.Errorf("there is no folder %s", dest)
	}
	clean := filepath.Clean(dest)
	return Target{filepath.Dir(clean), filepath.Base(clean)}, nil
}

// IsContents reports whether a path stands for what is in a folder.
func IsContents(p string) bool {
	return p == "." || p == "/" || strings.HasSuffix(p, "/.")
}

// Follows reports whether a path says by its end that a link is to be followed.
func Follows(p string) bool { return strings.HasSuffix(p, "/") || IsContents(p) }

// HostState returns the state of a path of the host's.
func HostState(p string) (State, error) {
	info, err := os.Stat(p)
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, nil
	}
	if err != nil {
		return State{}, err
	}
	real, err := filepath.EvalSymlinks(p)
	return State{Exists: true, Folder: info.IsDir(), Path: real}, err
}

// GuestPath returns a path of a guest's, from its root. An end that means something
// stays.
func GuestPath(p string) string {
	clean := path.Join("/", p)
	switch {
	case clean == "/":
	case strings.HasSuffix(p, "/."):
		clean += "/."
	case strings.HasSuffix(p, "/"):
		clean += "/"
	}
	return clean
}
