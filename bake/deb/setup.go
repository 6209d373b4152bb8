package deb

import (
	"context"
	"io/fs"
	"path"
	"strings"
)

// A Setup is what the installation of packages would make beside their files.
type Setup struct {
	Users        []User
	Groups       []string
	Members      []Member
	Changes      []Change
	Alternatives []Alternative
}

// A User is one to be made, with a group of the same name unless Group says
// otherwise. Without a home or shell it has none.
type User struct{ Name, Group, Comment, Home, Shell string }

// A Member is a user who belongs to a group beside the own.
type Member struct{ User, Group string }

// A Change makes a file that is missing, or says who owns one and what may be
// done with it.
type Change struct {
	Path      string
	Make      fs.FileMode // fs.ModeDir: the folder; fs.ModeSymlink: a link to From; 0: a copy of From, or an empty file
	Makes     bool
	From      string
	Owner     string // user or number; "" for no change
	Group     string // likewise
	Mode      uint32 // permissions as in chmod(2)
	HasMode   bool
	Recursive bool
}

// Setup returns what the installation of a package of the set makes, as far as
// its script says so literally. unread is told the commands of whose arguments
// that is not so.
func (s *Set) Setup(ctx context.Context, p *Package, unread func(command string)) (*Setup, error) {
	text, err := p.script(ctx)
	if err != nil {
		return nil, err
	}
	return readScript(text, unread), nil
}

// ReadSysusers adds the users and groups that a file of sysusers.d(5) describes.
func (s *Setup) ReadSysusers(text string) {
	for line := range strings.Lines(text) {
		// TYPE NAME ID GECOS HOME SHELL
		f := fields(line)
		if len(f) < 2 || strings.HasPrefix(f[0], "#") || strings.Contains(f[1], "%") {
			continue
		}
		field := func(i int) string {
			if len(f) <= i || f[i] == "-" {
				return ""
			}
			return f[i]
		}
		switch strings.TrimRight(f[0], "!") {
		case "u":
			s.Users = append(s.Users, User{Name: f[1], Comment: field(3), Home: field(4), Shell: field(5)})
		case "g":
			s.Groups = append(s.Groups, f[1])
		case "m":
			s.Members = append(s.Members, Member{f[1], field(2)})
		}
	}
}

// fields splits a line at spaces that are not in quotation marks.
func fields(line string) (out []string) {
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimLeft(line, " \t") {
		var f string
		if q := line[0]; q == '"' || q == '\'' {
			f, line, _ = strings.Cut(line[1:], string(q))
		} else if i := strings.IndexAny(line, " \t"); i >= 0 {
			f, line = line[:i], line[i:]
		} else {
			f, line = line, ""
		}
		out = append(out, f)
	}
	return out
}

// addChange adds a change of a path that is literal and absolute.
func (s *Setup) addChange(c Change) {
	if path.IsAbs(c.Path) && !strings.ContainsAny(c.Path, "*?[") {
		c.Path = path.Clean(c.Path)
		s.Changes = append(s.Changes, c)
	}
}
