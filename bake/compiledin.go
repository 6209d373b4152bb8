package bake

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// compiledIn matches the paths that stand in a program and lie where packages
// keep what their programs read.
var compiledIn = regexp.MustCompile(`/usr/(?:local/)?(?:share|lib|lib64|libexec)/[A-Za-z0-9._+/-]+`)

// prefixed matches a path that a program joins to the prefix that it is
// installed under, as git does: the whole of a string, but for the NUL behind it.
var prefixed = regexp.MustCompile(`\x00(?:share|libexec)/[A-Za-z0-9._+-]+(?:/[A-Za-z0-9._+-]+)*`)

// sharedPlaces are places of that kind that do not belong to one program: what
// is there comes by a need of its own, or is of no use in an image.
var sharedPlaces = []string{
	// What needs add, in the part that is wanted.
	"/usr/share/zoneinfo", "/usr/lib/locale", "/usr/lib/ssl", "/usr/share/ca-certificates", "/usr/share/terminfo", "/usr/lib/terminfo",
	"/usr/lib/x86_64-linux-gnu/gconv", "/usr/lib/x86_64-linux-gnu/security", "/usr/lib/x86_64-linux-gnu/ossl-modules",
	"/usr/lib/x86_64-linux-gnu/sasl2",
	// For people, and for who builds programs.
	"/usr/share/locale", "/usr/share/doc", "/usr/share/man", "/usr/share/info", "/usr/share/i18n", "/usr/share/nls",
	"/usr/share/bash-completion", "/usr/share/pkgconfig", "/usr/share/applications", "/usr/share/icons", "/usr/share/fonts",
	"/usr/lib/debug", "/usr/lib/gcc", "/usr/lib/pkgconfig", "/usr/share/common-licenses",
	// Of an operating system that starts services.
	"/usr/lib/systemd", "/usr/lib/tmpfiles.d", "/usr/lib/sysusers.d", "/usr/lib/modules", "/usr/lib/modules-load.d", "/usr/lib/udev",
	"/usr/lib/binfmt.d", "/usr/lib/sysctl.d", "/usr/lib/environment.d", "/usr/lib/pam.d", "/usr/lib/os-release", "/usr/share/dbus-1",
	"/usr/lib/init", "/usr/lib/firmware", "/usr/lib/jvm",
	// Of languages, see runtimes.
	"/usr/lib/python3", "/usr/share/perl5", "/usr/share/perl", "/usr/lib/x86_64-linux-gnu/perl", "/usr/lib/x86_64-linux-gnu/perl5",
	"/usr/lib/x86_64-linux-gnu/perl-base",
}

// ownPaths returns the paths that stand in content, lie where one program
// keeps its files, and exist on the host; sorted, without those that lie in
// others. A pattern such as DIR/?.lua or DIR/%s counts as its folder, and a string
// such as share/DIR as one of /usr.
func ownPaths(content []byte) []string {
	var found []string
	for _, at := range compiledIn.FindAllIndex(content, -1) {
		if at[0] > 0 && isPathByte(content[at[0]-1]) {
			continue // the end of another path
		}
		p := string(content[at[0]:at[1]])
		if at[1] < len(content) && strings.IndexByte("?*%", content[at[1]]) >= 0 {
			p = p[:strings.LastIndexByte(p, '/')]
		}
		found = append(found, path.Clean(p))
	}
	for _, at := range prefixed.FindAllIndex(content, -1) {
		if at[1] < len(content) && content[at[1]] == 0 {
			found = append(found, path.Join("/usr", string(content[at[0]+1:at[1]])))
		}
	}
	found = slices.DeleteFunc(found, func(p string) bool {
		if !ofOneProgram(p) {
			return true
		}
		_, err := os.Stat(p)
		return err != nil
	})
	slices.Sort(found)
	found = slices.Compact(found)
	return slices.DeleteFunc(found, func(p string) bool {
		return slices.ContainsFunc(found, func(q string) bool { return p != q && under(p, q) })
	})
}

func isPathByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("._+/-}", c) >= 0
}

// ofOneProgram reports whether p lies in a folder that belongs to one program,
// or a few that belong together.
func ofOneProgram(p string) bool {
	if under(p, sharedPlaces...) || strings.HasPrefix(p, "/usr/lib/python") {
		return false
	}
	for _, top := range []string{
		"/usr/lib/x86_64-linux-gnu/", "/usr/share/", "/usr/lib/", "/usr/lib64/", "/usr/libexec/",
		"/usr/local/share/", "/usr/local/lib/", "/usr/local/libexec/",
	} {
		if rest, ok := strings.CutPrefix(p, top); ok {
			return rest != "" && rest != "x86_64-linux-gnu"
		}
	}
	return false
}

// maxOwn is how many bytes of a folder are added because a program names it.
const maxOwn = 24 << 20

// ownSkip are what no program at work needs of such a folder.
var ownSkip = []string{"doc", "docs", "man", "examples", "*.a", "*.h", "include", "bitcode", "*/bitcode"}

// addOwn adds what the ELF file o names as its own: folders and files where
// packages keep them.
func (b *baker) addOwn(o object, content []byte) error {
	for _, p := range ownPaths(content) {
		if b.isGiven(p) || b.met[p] {
			continue
		}
		b.met[p] = true
		if size := folderSize(p); size > maxOwn {
			b.hint("%s may look for %s, %d MB, which is left out (--add %s)", path.Base(o.host), p, size>>20, p)
			continue
		}
		st, err := os.Stat(p)
		if err != nil {
			return ioError(err)
		}
		switch {
		case st.IsDir():
			err = b.addFolder(p, ownSkip)
		case st.Mode().IsRegular():
			err = b.addIfThere(p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// folderSize returns how many bytes the files below p have, or so many that
// they are too many. What cannot be read has none.
func folderSize(p string) (size int64) {
	end, err := filepath.EvalSymlinks(p)
	if err != nil {
		return 0
	}
	err = filepath.WalkDir(end, func(q string, d fs.DirEntry, err error) error {
		if err != nil {
			return fs.SkipDir
		}
		if matchesPath(strings.TrimPrefix(q, end), ownSkip) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if st, err := d.Info(); err == nil && st.Mode().IsRegular() {
			size += st.Size()
		}
		return nil
	})
	if err != nil {
		return 0
	}
	return size
}
