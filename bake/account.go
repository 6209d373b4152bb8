package bake

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"kiln/bake/deb"
)

// accounts are the users and groups of a machine, as /etc/passwd and /etc/group
// have them (passwd(5), group(5)).
type accounts struct {
	users, groups [][]string // fields of a line
}

// The users of a Debian system that is no person's have numbers below this
// (Debian policy, §9.2.2).
const firstPerson = 1000

// hostAccounts returns the host's.
func hostAccounts() *accounts {
	read := func(file string) string {
		text, err := os.ReadFile(file)
		if err != nil {
			return "" // then there are none
		}
		return string(text)
	}
	return parseAccounts(read("/etc/passwd"), read("/etc/group"))
}

// parseAccounts reads the texts of both files.
func parseAccounts(passwd, group string) *accounts {
	a := &accounts{}
	for line := range strings.Lines(passwd) {
		if f := strings.Split(strings.TrimSpace(line), ":"); len(f) == 7 {
			a.users = append(a.users, f)
		}
	}
	for line := range strings.Lines(group) {
		if f := strings.Split(strings.TrimSpace(line), ":"); len(f) == 4 {
			a.groups = append(a.groups, f)
		}
	}
	return a
}

// entryOf returns the line of name, nil if there is none.
func entryOf(lines [][]string, name string) []string {
	i := slices.IndexFunc(lines, func(f []string) bool { return f[0] == name })
	if i < 0 {
		return nil
	}
	return lines[i]
}

// number returns the number that name has in lines, or is.
func number(lines [][]string, name string) (uint32, bool) {
	text := name
	if f := entryOf(lines, name); f != nil {
		text = f[2]
	}
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err == nil
}

// uid returns a user's number.
func (a *accounts) uid(name string) (uint32, bool) { return number(a.users, name) }

// gid returns a group's number.
func (a *accounts) gid(name string) (uint32, bool) { return number(a.groups, name) }

// groupOf returns the number of a user's own group, 0 if that is not known.
func (a *accounts) groupOf(user string) uint32 {
	if f := entryOf(a.users, user); f != nil {
		n, _ := strconv.ParseUint(f[3], 10, 32)
		return uint32(n)
	}
	return 0
}

// system returns the names of the users that are no persons, but for root.
func (a *accounts) system() (names []string) {
	for _, f := range a.users {
		if n, ok := a.uid(f[0]); ok && n > 0 && n < firstPerson {
			names = append(names, f[0])
		}
	}
	return names
}

// nameOf returns the name in lines that has a number, "" if none has.
func nameOf(lines [][]string, id uint32) string {
	i := slices.IndexFunc(lines, func(f []string) bool { return f[2] == fmt.Sprint(id) })
	if i < 0 {
		return ""
	}
	return lines[i][0]
}

// imageAccounts returns the users and groups of the image. What cannot be read
// has none.
func (b *baker) imageAccounts() *accounts {
	read := func(file string) string {
		e := b.root.lookup(file)
		if e == nil {
			return ""
		}
		r, err := e.open()
		if err != nil {
			return ""
		}
		defer r.Close()
		text, err := io.ReadAll(r)
		if err != nil {
			return ""
		}
		return string(text)
	}
	return parseAccounts(read("/etc/passwd"), read("/etc/group"))
}

// firstSystem is the first number that Debian gives to the users and groups of
// packages when they are installed (Debian policy, §9.2.2).
const firstSystem = 100

// free returns the first number that no line has.
func free(lines [][]string) uint32 {
	n := uint32(firstSystem)
	for nameOf(lines, n) != "" {
		n++
	}
	return n
}

// newGroup adds a group that the image does not know, with a number that is
// free.
func (b *baker) newGroup(name string) {
	b.addLine("/etc/group", name, fmt.Sprintf("%s:x:%d:\n", name, free(b.imageAccounts().groups)))
}

// newUser adds a user whom the image does not know, with a number that is free,
// and the group.
func (b *baker) newUser(u deb.User) {
	if entryOf(b.imageAccounts().users, u.Name) != nil {
		return
	}
	group := cmp.Or(u.Group, u.Name)
	b.newGroup(group)
	a := b.imageAccounts()
	gid, ok := a.gid(group)
	if !ok {
		return // the file of groups is the user's own, and does not know it
	}
	b.addLine("/etc/passwd", u.Name, fmt.Sprintf("%s:x:%d:%d:%s:%s:%s\n", u.Name, free(a.users), gid,
		u.Comment, cmp.Or(u.Home, "/nonexistent"), cmp.Or(u.Shell, "/usr/sbin/nologin")))
}

// addMember makes a user a member of a group beside the own, where both are
// known and the file of groups is bake's own.
func (b *baker) addMember(group, user string) {
	e, a := b.root.lookup("/etc/group"), b.imageAccounts()
	f := entryOf(a.groups, group)
	if e == nil || e.from != fromBase || f == nil || entryOf(a.users, user) == nil || slices.Contains(strings.Split(f[3], ","), user) {
		return
	}
	old := strings.Join(f, ":")
	f[3] = strings.TrimPrefix(f[3]+","+user, ",")
	e.data = []byte(strings.Replace(string(e.data), old+"\n", strings.Join(f, ":")+"\n", 1))
	e.size = int64(len(e.data))
}

// addAccount adds a user of a to the image's, and its group, unless the image
// knows the name or the files are not bake's own.
func (b *baker) addAccount(a *accounts, name string) {
	f := entryOf(a.users, name)
	if f == nil {
		return
	}
	b.addLine("/etc/passwd", name, fmt.Sprintf("%s:x:%s:%s:%s:%s:%s\n", f[0], f[2], f[3], f[4], f[5], f[6]))
	for _, g := range a.groups {
		if g[2] == f[3] {
			b.addGroup(a, g[0])
		}
	}
}

// addGroup adds a group of a to the image's likewise, without its members.
func (b *baker) addGroup(a *accounts, name string) {
	if g := entryOf(a.groups, name); g != nil {
		b.addLine("/etc/group", name, fmt.Sprintf("%s:x:%s:\n", g[0], g[2]))
	}
}

// addLine adds a line for name to a file of the base.
func (b *baker) addLine(file, name, line string) {
	e := b.root.lookup(file)
	if e == nil || e.from != fromBase {
		return
	}
	for old := range strings.Lines(string(e.data)) {
		if strings.HasPrefix(old, name+":") {
			return
		}
	}
	e.data = append(slices.Clip(e.data), line...)
	e.size = int64(len(e.data))
}
