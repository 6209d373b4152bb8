// Package account reads the users and groups of a root file system: its
// /etc/passwd (passwd(5)) and /etc/group (group(5)).
package account

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"kiln/image"
)

// Files are the texts of both files. One that does not exist is empty.
type Files struct{ Passwd, Group string }

// Find returns who USER[:GROUP] is, names or numbers, and the home directory, ""
// if none is known. Without a group it has the user's own, and those that
// have the user as a member.
func (f Files) Find(text string) (u image.User, home string, err error) {
	name, group, hasGroup := strings.Cut(text, ":")
	if line, found := find(f.Passwd, name, 7); found {
		var ok1, ok2 bool
		u.UID, ok1 = number(line[2])
		u.GID, ok2 = number(line[3])
		if !ok1 || !ok2 {
			return u, "", fmt.Errorf("/etc/passwd has no numbers for user %s", name)
		}
		home, u.Groups = line[5], f.groupsOf(line[0])
	} else {
		var ok bool
		if u.UID, ok = number(name); !ok {
			return u, "", fmt.Errorf("user %q is not in /etc/passwd", name)
		}
		home = "/"
	}
	if hasGroup {
		u.Groups = nil
		id := group
		if line, found := find(f.Group, group, 4); found {
			id = line[2]
		}
		var ok bool
		if u.GID, ok = number(id); !ok {
			return u, "", fmt.Errorf("group %q is not in /etc/group", group)
		}
	}
	// The group itself is one of them, so that it cannot be given up to gain
	// what it is denied (CVE-2022-36109).
	if !slices.Contains(u.Groups, u.GID) {
		u.Groups = append([]uint32{u.GID}, u.Groups...)
	}
	return u, home, nil
}

// groupsOf returns the numbers of the groups that have user as a member.
func (f Files) groupsOf(user string) (groups []uint32) {
	for line := range strings.Lines(f.Group) {
		l, ok := fields(line, 4)
		if !ok || !slices.Contains(strings.Split(l[3], ","), user) {
			continue
		}
		if id, ok := number(l[2]); ok {
			groups = append(groups, id)
		}
	}
	return groups
}

// find returns the line of a file, of n fields, for a name or a number.
func find(text, name string, n int) ([]string, bool) {
	for line := range strings.Lines(text) {
		if l, ok := fields(line, n); ok && (l[0] == name || l[2] == name) {
			return l, true
		}
	}
	return nil, false
}

// fields returns the n fields of a line. It reports false if there are not as
// many.
func fields(line string, n int) ([]string, bool) {
	l := strings.Split(strings.TrimRight(line, "\r\n"), ":")
	return l, len(l) == n
}

// number reads a user's or a group's number.
func number(text string) (uint32, bool) {
	n, err := strconv.ParseUint(text, 10, 32)
	return uint32(n), err == nil
}
