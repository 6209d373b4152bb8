package deb

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A Set is packages with all that they depend on.
type Set struct {
	Named    []*Package // those that were asked for, in order
	Packages []*Package // all, by name

	database *Database
	dir      string // where downloaded packages are unpacked
}

// Find finds packages and what they depend on. A name is that of a package, or
// the path of a .deb. What is not installed on this machine is downloaded, to
// dir, which is the caller's to remove; progress is told so. What is wrong with
// a name or a package is an *Error.
func Find(ctx context.Context, d *Database, names []string, dir string, progress func(format string, args ...any)) (*Set, error) {
	f := finder{ctx: ctx, Database: d, dir: dir, progress: progress, table: maps.Clone(d.installed)}
	var wanted []string // for apt-get
	set := &Set{database: d, dir: dir}
	for i, name := range names {
		if strings.HasSuffix(name, ".deb") {
			p, err := f.addArchive(name)
			if err != nil {
				return nil, err
			}
			names[i] = p.Name
			abs, err := filepath.Abs(name)
			if err != nil {
				return nil, err
			}
			wanted = append(wanted, abs)
			continue
		}
		if !packageName.MatchString(name) {
			return nil, errorf("%q is neither the name of a package nor the path of a .deb", name)
		}
		if f.table[name] == nil {
			wanted = append(wanted, name)
		}
	}
	chosen, err := f.choose(names)
	if _, ok := errors.AsType[*missingError](err); ok {
		if err := f.download(wanted, err); err != nil {
			return nil, err
		}
		chosen, err = f.choose(names)
	}
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		set.Named = append(set.Named, chosen[name])
	}
	for _, name := range slices.Sorted(maps.Keys(chosen)) {
		set.Packages = append(set.Packages, chosen[name])
	}
	return set, nil
}

// A finder looks for packages.
type finder struct {
	*Database
	ctx      context.Context
	dir      string
	progress func(format string, args ...any)
	table    map[string]*Package // installed, or there as archives
}

// choose selects packages from those that are there.
func (f *finder) choose(names []string) (map[string]*Package, error) {
	s := newSelection(f.table)
	for _, name := range names {
		if f.table[name] == nil {
			return nil, &missingError{errorf("package %s is not installed", name)}
		}
		if err := s.add(name); err != nil {
			return nil, err
		}
	}
	return s.chosen, nil
}

// download gets what apt-get would install for the packages that are wanted,
// which are missing something, as cause says.
func (f *finder) download(wanted []string, cause error) error {
	if len(wanted) == 0 {
		return cause // what is installed lacks something: apt-get -f install is for it
	}
	missing, err := aptPlan(f.ctx, wanted)
	if err != nil {
		return err
	}
	dir := filepath.Join(f.dir, "archives")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var specs []string
	for _, m := range missing {
		if slices.Contains(forInstallation, m.name) && !slices.Contains(wanted, m.name) {
			continue
		}
		if p := f.table[m.name]; p == nil || p.Version != m.version {
			specs = append(specs, m.name+"="+m.version)
		}
	}
	if len(specs) == 0 {
		return cause
	}
	f.progress("downloading packages: %s", strings.Join(specs, " "))
	if err := aptDownload(f.ctx, dir, specs); err != nil {
		return err
	}
	archives, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil {
		return err
	}
	for _, a := range archives {
		if _, err := f.addArchive(a); err != nil {
			return err
		}
	}
	return nil
}

// addArchive adds the package in a .deb to those that are there.
func (f *finder) addArchive(name string) (*Package, error) {
	p, err := readArchive(f.ctx, name)
	if err != nil {
		return nil, err
	}
	f.table[p.Name] = p
	return p, nil
}
