package deb

import (
	"cmp"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// An Alternative is one of the programs that a link may lead to
// (update-alternatives(1)).
type Alternative struct {
	Name     string // of the link in /etc/alternatives
	Link     string // which leads there
	Path     string // where that leads
	Priority int
	Slaves   []Slave
}

// A Slave is a link that follows another.
type Slave struct{ Name, Link, Path string }

// alternativesDir is where the links of the second step are.
const alternativesDir = "/etc/alternatives"

// readAlternatives reads update-alternatives(1) where it installs one.
func readAlternatives(s *Setup, args []string) bool {
	at := slices.Index(args, "--install")
	if at < 0 {
		return true
	}
	args = args[at+1:]
	if len(args) < 4 {
		return false
	}
	a := Alternative{Link: args[0], Name: args[1], Path: args[2]}
	var err error
	if a.Priority, err = strconv.Atoi(args[3]); err != nil {
		return false
	}
	for rest := args[4:]; len(rest) >= 4 && rest[0] == "--slave"; rest = rest[4:] {
		a.Slaves = append(a.Slaves, Slave{Link: rest[1], Name: rest[2], Path: rest[3]})
	}
	if !a.valid() {
		return false
	}
	s.Alternatives = append(s.Alternatives, a)
	return true
}

// valid reports whether the names and paths are such.
func (a *Alternative) valid() bool {
	ok := func(name, link, to string) bool {
		return name != "" && path.Base(name) == name && path.IsAbs(link) && path.IsAbs(to)
	}
	return ok(a.Name, a.Link, a.Path) && !slices.ContainsFunc(a.Slaves, func(s Slave) bool { return !ok(s.Name, s.Link, s.Path) })
}

// parseAlternative reads a file of dpkg's database of alternatives: the status,
// the link, its slaves' names and links, an empty line, and then for each
// choice its path, priority, and a path for each slave, which may be empty.
func parseAlternative(name, text string) (out []Alternative) {
	lines := strings.Split(text, "\n")
	next := func() string {
		if len(lines) == 0 {
			return ""
		}
		line := lines[0]
		lines = lines[1:]
		return line
	}
	next() // auto or manual
	link := next()
	var slaves []Slave
	for n := next(); n != ""; n = next() {
		slaves = append(slaves, Slave{Name: n, Link: next()})
	}
	for p := next(); p != ""; p = next() {
		a := Alternative{Name: name, Link: link, Path: p}
		var err error
		a.Priority, err = strconv.Atoi(next())
		for _, s := range slaves {
			if s.Path = next(); s.Path != "" {
				a.Slaves = append(a.Slaves, s)
			}
		}
		if err == nil && a.valid() {
			out = append(out, a)
		}
	}
	return out
}

// Alternatives returns those that this machine has. What cannot be read is not
// there.
func (s *Set) Alternatives() (out []Alternative) {
	files, err := filepath.Glob(filepath.Join(s.database.dir, "alternatives", "*"))
	if err != nil {
		return nil
	}
	for _, f := range files {
		if text, err := os.ReadFile(f); err == nil {
			out = append(out, parseAlternative(filepath.Base(f), string(text))...)
		}
	}
	return out
}

// Choose returns for each name the one of those whose program has reports that
// is preferred: what this machine has chosen, or the highest priority; sorted
// by name.
func Choose(all []Alternative, has func(p string) bool) (out []Alternative) {
	all = slices.DeleteFunc(slices.Clone(all), func(a Alternative) bool { return !has(a.Path) })
	slices.SortFunc(all, func(a, b Alternative) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), chosenFirst(a, b), b.Priority-a.Priority, strings.Compare(a.Path, b.Path))
	})
	return slices.CompactFunc(all, func(a, b Alternative) bool { return a.Name == b.Name })
}

// chosenFirst puts what this machine has chosen before others.
func chosenFirst(a, b Alternative) int {
	chosen, err := os.Readlink(path.Join(alternativesDir, a.Name))
	switch {
	case err != nil || a.Path == b.Path:
		return 0
	case a.Path == chosen:
		return -1
	case b.Path == chosen:
		return 1
	}
	return 0
}

// Links returns the symbolic links of an alternative, each with its target: the
// ones that programs name, and those that they lead to.
func (a *Alternative) Links(has func(p string) bool) (out [][2]string) {
	for _, s := range append([]Slave{{a.Name, a.Link, a.Path}}, a.Slaves...) {
		if has(s.Path) {
			second := path.Join(alternativesDir, s.Name)
			out = append(out, [2]string{s.Link, second}, [2]string{second, s.Path})
		}
	}
	return out
}
