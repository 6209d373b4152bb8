// Package archive copies trees of the guest's files to and from tar streams
// (POSIX.1-2001 pax), for who has no tar in the guest.
//
// It works as the kernel, with root's rights, on the mount namespace of process 1.
//
// Context: goroutines that are no tasks. Before each piece that may take page
// frames, Tree.Room is asked.
package archive

import (
	"archive/tar"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/fspath"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/pkg/sentry/vfs"

	"kiln/image/channel"
)

// Tree is where paths are looked up.
type Tree struct {
	Ctx   context.Context
	VFS   *vfs.VirtualFilesystem
	Creds *auth.Credentials
	Root  vfs.VirtualDentry
	// Room makes room for the page frames of so many bytes of a file, that are
	// read or written. It returns what is to be called when they were.
	Room func(file *vfs.FileDescription, bytes int, write bool) (done func(), err error)
	// Say is told of what is left out.
	Say func(format string, args ...any)
}

// pieceSize is how many bytes are moved at once.
const pieceSize = 64 << 10

// op returns the operation on a path.
func (t *Tree) op(p string, follow bool) *vfs.PathOperation {
	return &vfs.PathOperation{Root: t.Root, Start: t.Root, Path: fspath.Parse(p), FollowFinalSymlink: follow}
}

// statMask is all that an archive has of a file.
const statMask = linux.STATX_TYPE | linux.STATX_MODE | linux.STATX_NLINK | linux.STATX_UID | linux.STATX_GID |
	linux.STATX_INO | linux.STATX_SIZE | linux.STATX_MTIME

func (t *Tree) stat(p string, follow bool) (linux.Statx, error) {
	return t.VFS.StatAt(t.Ctx, t.Creds, t.op(p, follow), &vfs.StatOptions{Mask: statMask})
}

// Stat tells what a path is. A link to nothing does not exist.
func (t *Tree) Stat(p string) (channel.PathState, error) {
	var state channel.PathState
	if err := check(p); err != nil {
		return state, err
	}
	p = cmp.Or(strings.TrimRight(p, "/"), "/")
	s, err := t.stat(p, false)
	if err == nil && kindOf(s) == linux.S_IFLNK {
		state.Link = true
		s, err = t.stat(p, true)
	}
	if isMissing(err) {
		return state, nil
	}
	if err == nil {
		state.Exists, state.Folder = true, kindOf(s) == linux.S_IFDIR
		state.Path, err = t.real(p)
	}
	if err != nil {
		return state, fmt.Errorf("%s: %w", p, err)
	}
	return state, nil
}

// real returns a path without the links in it.
func (t *Tree) real(p string) (string, error) {
	d, err := t.VFS.GetDentryAt(t.Ctx, t.Creds, t.op(p, true), &vfs.GetDentryOptions{})
	if err != nil {
		return "", err
	}
	defer d.DecRef(t.Ctx)
	return t.VFS.PathnameWithDeleted(t.Ctx, t.Root, d)
}

func kindOf(s linux.Statx) uint16 { return s.Mode & linux.S_IFMT }

// header returns the entry for a file, of no size and to no other.
func header(name string, s linux.Statx) *tar.Header {
	return &tar.Header{
		Name: name, Mode: int64(s.Mode &^ linux.S_IFMT), Uid: int(s.UID), Gid: int(s.GID),
		ModTime: time.Unix(s.Mtime.Sec, int64(s.Mtime.Nsec)), Format: tar.FormatPAX,
	}
}

// errNoPath says that a path is none.
var errNoPath = errors.New("the path is not absolute")

// check refuses what is no path.
func check(p string) error {
	if !path.IsAbs(p) {
		return &fs.PathError{Op: "copy", Path: p, Err: errNoPath}
	}
	return nil
}
