package deb

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"pault.ag/go/debian/control"
)

// DefaultDatabase is dpkg's on a Debian system.
const DefaultDatabase = "/var/lib/dpkg"

// architectures are those whose packages can be in an image.
var architectures = []string{"amd64", "all"}

// A Database is what dpkg knows of the packages that are installed.
type Database struct {
	dir       string
	installed map[string]*Package
	essential []*Package           // installed, by name: others need not say that they depend on them
	ucf       map[string][]ucfFile // by package
	diverted  map[string]diversion // by the path that a package names
}

// A diversion puts a file of all packages but one elsewhere (dpkg-divert(1)).
type diversion struct{ to, by string }

// OpenDatabase reads dpkg's database in dir.
func OpenDatabase(dir string) (*Database, error) {
	f, err := os.Open(filepath.Join(dir, "status"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errorf("this machine has no packages of Debian's: %s is missing", filepath.Join(dir, "status"))
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d := &Database{dir: dir, installed: map[string]*Package{}, ucf: map[string][]ucfFile{}, diverted: map[string]diversion{}}
	paragraphs, err := readControl(f)
	if err != nil {
		return nil, errorf("%s: %v", f.Name(), err)
	}
	for _, c := range paragraphs {
		if err := d.addInstalled(c); err != nil {
			return nil, errorf("%s: %v", f.Name(), err)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "diversions"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	d.readDiversions(string(text))
	slices.SortFunc(d.essential, func(a, b *Package) int { return strings.Compare(a.Name, b.Name) })
	return d, d.readUCF(filepath.Join(filepath.Dir(dir), "ucf"))
}

// addInstalled adds the package that a paragraph of the status file describes,
// if its files are there.
func (d *Database) addInstalled(c map[string]string) error {
	// Status: WANTED FLAG STATE (dpkg-query(1)); triggers may be waited for.
	status := strings.Fields(c["Status"])
	if len(status) != 3 || status[2] != "installed" && !strings.HasPrefix(status[2], "triggers-") {
		return nil
	}
	p, err := newPackage(c)
	if err != nil || p == nil {
		return err
	}
	p.info = filepath.Join(d.dir, "info", p.Name)
	if _, err := os.Stat(p.info + ".list"); err != nil {
		p.info += ":" + c["Architecture"] // of Multi-Arch: same
	}
	d.installed[p.Name] = p
	if c["Essential"] == "yes" {
		d.essential = append(d.essential, p)
	}
	return nil
}

// readDiversions reads the list of diversions: three lines each.
func (d *Database) readDiversions(text string) {
	lines := strings.Split(text, "\n")
	for ; len(lines) >= 3; lines = lines[3:] {
		d.diverted[lines[0]] = diversion{to: lines[1], by: lines[2]}
	}
}

// A ucfFile is a file of configuration that a package's installation has put
// into /etc by ucf(1).
type ucfFile struct{ path, md5 string }

// readUCF reads ucf's lists in dir: which package a file belongs to, and the
// checksum that the package's form of it has.
func (d *Database) readUCF(dir string) error {
	read := func(name string) ([][]string, error) {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		var lines [][]string
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) == 2 {
				lines = append(lines, f)
			}
		}
		return lines, err
	}
	sums := map[string]string{}
	hashes, err := read("hashfile") // MD5 PATH
	if err != nil {
		return err
	}
	for _, f := range hashes {
		sums[f[1]] = f[0]
	}
	owners, err := read("registry") // PACKAGE PATH
	if err != nil {
		return err
	}
	for _, f := range owners {
		d.ucf[f[0]] = append(d.ucf[f[0]], ucfFile{f[1], sums[f[1]]})
	}
	return nil
}

// readControl reads paragraphs of a control file.
func readControl(r io.Reader) (out []map[string]string, err error) {
	paragraphs, err := control.NewParagraphReader(bufio.NewReader(r), nil)
	if err != nil {
		return nil, err
	}
	for {
		p, err := paragraphs.Next()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		out = append(out, p.Values)
	}
}

// packageName matches a package's name (Debian policy §5.6.1). It is part of
// paths and of command lines.
var packageName = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)

// newPackage returns the package that a paragraph describes, nil if it is for
// other machines.
func newPackage(c map[string]string) (*Package, error) {
	p := &Package{Name: c["Package"], Version: c["Version"], conffiles: map[string]string{}}
	if !packageName.MatchString(p.Name) {
		return nil, fmt.Errorf("%q is no name of a package", p.Name)
	}
	if a := c["Architecture"]; a != architectures[0] && a != architectures[1] {
		return nil, nil
	}
	for _, field := range []string{"Pre-Depends", "Depends"} {
		if text := strings.TrimSpace(c[field]); text != "" {
			p.depends = append(p.depends, text)
		}
	}
	var err error
	if p.provides, err = parseProvides(c["Provides"]); err != nil {
		return nil, fmt.Errorf("package %s: Provides: %w", p.Name, err)
	}
	for line := range strings.Lines(c["Conffiles"]) {
		// PATH MD5 [obsolete]
		if f := strings.Fields(line); len(f) >= 2 {
			p.conffiles[f[0]] = f[1]
		}
	}
	return p, nil
}
