package bake

import (
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// An Owner is the user and the group that a path of the image belongs to, with
// all below it.
type Owner struct {
	Path     string
	UID, GID uint32
}

// ParseOwner reads PATH=UID[:GID]. Without GID it is the same number.
func ParseOwner(text string) (Owner, error) {
	p, ids, ok := strings.Cut(text, "=")
	uid, gid, both := strings.Cut(ids, ":")
	if !both {
		gid = uid
	}
	u, uerr := strconv.ParseUint(uid, 10, 32)
	g, gerr := strconv.ParseUint(gid, 10, 32)
	if !ok || !path.IsAbs(p) || uerr != nil || gerr != nil {
		return Owner{}, inputErrorf(text, "an owner is given as PATH=UID[:GID], with an absolute path and numbers")
	}
	return Owner{path.Clean(p), uint32(u), uint32(g)}, nil
}

// setOwners gives files to those that they belong to.
func (b *baker) setOwners() error {
	for _, o := range b.options.Owners {
		if b.root.lookup(o.Path) == nil {
			return inputErrorf(o.Path, "does not exist in the image, so it cannot belong to user %d", o.UID)
		}
		top, err := b.root.resolve(o.Path, true)
		if err != nil {
			return err
		}
		for p, e := range b.root.entries {
			if under(p, top) {
				e.uid, e.gid = o.UID, o.GID
			}
		}
	}
	return nil
}

// addRoot adds what the folder of Options.Root has.
func (b *baker) addRoot() error {
	if b.options.Root == "" {
		return nil
	}
	host, err := filepath.Abs(b.options.Root)
	if err != nil {
		return ioError(err)
	}
	if host, err = filepath.EvalSymlinks(host); err != nil {
		return ioError(err)
	}
	b.options.Root = host
	return b.addDir(host, "/", fromAdded, func(rel string) bool { return under(rel, mountPoints...) })
}

// inRoot reports whether a file is in the folder of Options.Root, which is
// complete in itself.
func (b *baker) inRoot(host string) bool { return b.options.Root != "" && under(host, b.options.Root) }
