package deb

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

// files returns the files of an installed package but docs. has reports whether
// a package will be in the image.
func (d *Database) files(p *Package, has func(name string) bool, missing func(path string)) (out []File, err error) {
	text, err := os.ReadFile(p.info + ".list")
	if err != nil {
		return nil, err
	}
	for name := range strings.Lines(string(text)) {
		name = strings.TrimSuffix(name, "\n")
		if !path.IsAbs(name) || path.Clean(name) == "/" || isDoc(path.Clean(name)) {
			continue
		}
		host, guest := d.place(p, path.Clean(name), has)
		f, err := Installed(host)
		if errors.Is(err, fs.ErrNotExist) {
			missing(guest)
			continue
		}
		if err != nil {
			return nil, err
		}
		f.Path = guest
		if sum := p.conffiles[name]; sum != "" && f.Mode.IsRegular() {
			f.Changed = !hasMD5(host, sum)
		}
		out = append(out, f)
		compiled, err := compiledPython(f)
		if err != nil {
			return nil, err
		}
		out = append(out, compiled...)
	}
	return d.addConfigured(p, out)
}

// addConfigured adds to the files of an installed package those in /etc that
// its installation has made: ucf's, and the symbolic links in its folders by
// which it chooses among its files (/etc/nginx/sites-enabled).
func (d *Database) addConfigured(p *Package, files []File) ([]File, error) {
	for _, u := range d.ucf[p.Name] {
		f, err := Installed(u.path)
		if err != nil || !f.Mode.IsRegular() || !strings.HasPrefix(u.path, "/etc/") {
			continue // removed since
		}
		f.Changed = !hasMD5(u.path, u.md5)
		files = append(files, f)
	}
	for _, dir := range files {
		if !dir.Mode.IsDir() || strings.Count(dir.Path, "/") < 3 || !strings.HasPrefix(dir.Path, "/etc/") {
			continue
		}
		in, err := os.ReadDir(dir.Path)
		if err != nil {
			return nil, err
		}
		for _, e := range in {
			link := path.Join(dir.Path, e.Name())
			to, err := filepath.EvalSymlinks(link)
			if e.Type()&fs.ModeSymlink == 0 || err != nil || !strings.HasPrefix(to, "/etc/") {
				continue
			}
			f, err := Installed(link)
			if err != nil {
				return nil, err
			}
			files = append(files, f)
		}
	}
	return files, nil
}

// Essential returns the installed package that has p and that others use without
// saying that they depend on it (Debian policy §3.8), nil if there is none.
func (s *Set) Essential(p string) (*Package, error) {
	for _, e := range s.database.essential {
		text, err := os.ReadFile(e.info + ".list")
		if err != nil {
			return nil, err
		}
		if strings.Contains("\n"+string(text), "\n"+p+"\n") {
			return e, nil
		}
	}
	return nil, nil
}

// place returns where a file of p's is on this machine, and where it is in an
// image: at its own place, unless the package that diverts it is there, too.
func (d *Database) place(p *Package, name string, has func(name string) bool) (host, guest string) {
	v, ok := d.diverted[name]
	if !ok || v.by == p.Name {
		return name, name
	}
	if has(v.by) {
		return v.to, v.to
	}
	return v.to, name
}

// Installed describes a file of this machine's.
func Installed(host string) (File, error) {
	st, err := os.Lstat(host)
	if err != nil {
		return File{}, err
	}
	f := File{Path: host, Mode: st.Mode() & typeBits, Time: st.ModTime()}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		f.UID, f.GID = sys.Uid, sys.Gid
	}
	switch {
	case st.Mode().IsRegular():
		f.Host, f.Size = host, st.Size()
	case st.Mode()&fs.ModeSymlink != 0:
		f.Link, err = os.Readlink(host)
	}
	return f, err
}

// hasMD5 reports whether a file's content has a checksum. One that cannot be
// read has not.
func hasMD5(name, sum string) bool {
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	h := md5.New()
	if _, err := io.Copy(h, f); err != nil {
		return false
	}
	return hex.EncodeToString(h.Sum(nil)) == sum
}

// compiledPython returns the compiled forms of a Python source: the package's
// installation made them (PEP 3147), and no list has them.
func compiledPython(source File) (out []File, err error) {
	name, ok := strings.CutSuffix(source.Path, ".py")
	if !ok || !source.Mode.IsRegular() {
		return nil, nil
	}
	compiled, err := filepath.Glob(filepath.Join(path.Dir(name), "__pycache__", path.Base(name)+".cpython-*[0-9].pyc"))
	if err != nil {
		return nil, nil // a name that is no pattern
	}
	for _, host := range compiled {
		f, err := Installed(host)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}
