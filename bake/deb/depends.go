package deb

import (
	"maps"
	"slices"
	"strings"

	"pault.ag/go/debian/dependency"
	"pault.ag/go/debian/version"
)

// forInstallation are packages that others depend on for what their scripts do
// while they are installed, and those that run an operating system's services.
// They are left out, unless they are named.
var forInstallation = []string{
	"adduser", "apt-utils", "cdebconf", "debconf", "debconf-2.0", "debianutils", "dpkg", "init-system-helpers",
	"install-info", "libpam-systemd", "logrotate", "lsb-base", "po-debconf", "runit-helper", "sysvinit-utils", "systemd",
	"systemd-sysv", "ucf", "update-inetd",
}

// parseDepends reads a list of relationships (Debian policy §7.1).
func parseDepends(text string) ([]dependency.Relation, error) {
	d, err := dependency.Parse(text)
	if err != nil {
		return nil, err
	}
	return d.Relations, nil
}

// parseProvides reads the names that a package provides, with their versions.
func parseProvides(text string) (out []provided, err error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	relations, err := parseDepends(text)
	if err != nil {
		return nil, err
	}
	for _, r := range relations {
		for _, p := range r.Possibilities {
			v := provided{name: p.Name}
			if p.Version != nil {
				v.version = p.Version.Number
			}
			out = append(out, v)
		}
	}
	return out, nil
}

// A selection finds packages and what they depend on among those of table.
type selection struct {
	table    map[string]*Package
	provided map[string][]*Package // by name, those that provide it, in order
	chosen   map[string]*Package
}

func newSelection(table map[string]*Package) *selection {
	s := &selection{table: table, provided: map[string][]*Package{}, chosen: map[string]*Package{}}
	for _, name := range slices.Sorted(maps.Keys(table)) {
		for _, v := range table[name].provides {
			s.provided[v.name] = append(s.provided[v.name], table[name])
		}
	}
	return s
}

// add adds a package and what it depends on. What is missing is an *Error.
func (s *selection) add(name string) error {
	todo := []string{name}
	for len(todo) > 0 {
		p := s.table[todo[0]]
		todo = todo[1:]
		if s.chosen[p.Name] != nil {
			continue
		}
		s.chosen[p.Name] = p
		for _, text := range p.depends {
			relations, err := parseDepends(text)
			if err != nil {
				return errorf("package %s: Depends: %v", p.Name, err)
			}
			for _, r := range relations {
				more, err := s.satisfy(p, r)
				if err != nil {
					return err
				}
				if more != "" {
					todo = append(todo, more)
				}
			}
		}
	}
	return nil
}

// satisfy returns the package that fulfils a relation of p's, "" if none is
// needed in an image: the first of the alternatives that is there, as apt does.
func (s *selection) satisfy(p *Package, r dependency.Relation) (string, error) {
	var names []string
	if len(r.Possibilities) == 0 {
		return "", nil // between two commas
	}
	for _, alternative := range r.Possibilities {
		if slices.Contains(forInstallation, alternative.Name) {
			return "", nil
		}
		names = append(names, alternative.Name)
	}
	for _, alternative := range r.Possibilities {
		if q := s.table[alternative.Name]; q != nil && fulfils(q.Version, alternative.Version) {
			return q.Name, nil
		}
		for _, q := range s.provided[alternative.Name] {
			if q.providesVersion(alternative) {
				return q.Name, nil
			}
		}
	}
	return "", &missingError{errorf("package %s depends on %s, which is not installed", p.Name, strings.Join(names, " or "))}
}

// A missingError is one that a download may mend.
type missingError struct{ err *Error }

// Error implements error.
func (e *missingError) Error() string { return e.err.msg }

// Unwrap returns what the user is told.
func (e *missingError) Unwrap() error { return e.err }

// providesVersion reports whether p provides what is wanted. A name that is
// provided without a version fulfils no relation with one (Debian policy §7.5).
func (p *Package) providesVersion(wanted dependency.Possibility) bool {
	return slices.ContainsFunc(p.provides, func(v provided) bool {
		return v.name == wanted.Name && (wanted.Version == nil || v.version != "" && fulfils(v.version, wanted.Version))
	})
}

// fulfils reports whether a version is as wanted, which may be nil.
func fulfils(have string, wanted *dependency.VersionRelation) bool {
	if wanted == nil {
		return true
	}
	h, err := version.Parse(have)
	if err != nil {
		return false
	}
	w, err := version.Parse(wanted.Number)
	if err != nil {
		return false
	}
	c := version.Compare(h, w)
	switch wanted.Operator {
	case "<<":
		return c < 0
	case "<=", "<":
		return c <= 0
	case "=":
		return c == 0
	case ">=", ">":
		return c >= 0
	case ">>":
		return c > 0
	}
	return false
}
