package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"kiln/image/channel"
	"kiln/run/control"
	"kiln/run/transfer"
)

const cpUsage = "[FLAGS] NAME:PATH DEST | SOURCE NAME:PATH"

var cpCommand = command{
	name:  "cp",
	usage: cpUsage,
	short: "copy files out of a guest that runs, or into it",
	long: `
Copies a file, or a folder with all that is in it, out of the guest NAME or into
it. The guest needs no program for that.

A copy of a file to a folder goes into it; to a file, in its place; else it gets
that name. A copy of a folder to a folder goes into it, or, if the source ends
with /., only what is in it does; else the copy gets that name.

- as DEST writes a tar archive to standard output; as SOURCE it reads one from
standard input, and unpacks it in the folder PATH.

Modes, times, symbolic and hard links stay. Copies in the guest belong to root,
and copies here to you; with -a, to whom the originals do, by number. Copies here
have no set-user-ID bits without -a, and devices are left out.

A local path with a colon begins with ./ or /.`,
	flags: cpFlags,
}

// copyJob is what kiln cp is to do.
type copyJob struct {
	guest  string // the guest's name
	inside string // the path in the guest
	local  string // the path here, or "-"
	follow bool
	owners bool
}

// cpFlags adds the flags of kiln cp.
func cpFlags(fs *pflag.FlagSet) action {
	c := &copyJob{}
	fs.BoolVarP(&c.owners, "archive", "a", false, "keep owners and groups, by their numbers")
	fs.BoolVarP(&c.follow, "follow-link", "L", false, "if the source is a symbolic link, copy what it leads to")
	return func(a *app, args []string, _ int) (int, error) {
		if len(args) != 2 {
			return 0, usageError{"a source and a destination are needed", "kiln cp " + cpUsage}
		}
		guest1, inside1 := guestPath(args[0])
		guest2, inside2 := guestPath(args[1])
		switch {
		case guest1 != "" && guest2 != "":
			return 0, usageError{"both paths are in guests", "copy by way of a folder here"}
		case guest1 != "":
			c.guest, c.inside, c.local = guest1, inside1, args[1]
			return a.copied(a.copyOut(*c))
		case guest2 != "":
			c.guest, c.inside, c.local = guest2, inside2, args[0]
			return a.copied(a.copyIn(*c))
		}
		return 0, usageError{"none of the paths is in a guest", "write a guest's as NAME:PATH"}
	}
}

// guestPath splits NAME:PATH. The name is "" if the path is one of this machine's.
func guestPath(arg string) (name, p string) {
	if strings.HasPrefix(arg, "/") || strings.HasPrefix(arg, ".") {
		return "", arg
	}
	name, p, ok := strings.Cut(arg, ":")
	if !ok || name == "" {
		return "", arg
	}
	return name, transfer.GuestPath(p)
}

// copied returns the exit status for how a copy went.
func (a *app) copied(err error) (int, error) {
	if errors.Is(err, errSaid) {
		return exitFailure, nil
	}
	if err != nil {
		return a.sessionStatus(exitFailure, err)
	}
	return 0, nil
}

// errSaid says that a session failed, and the guest has said why.
var errSaid = errors.New("the guest could not do it")

// session runs a session of the guest's that has no exit status of a program's.
func (a *app) session(guest string, o channel.Opening, std control.Stdio) error {
	s, err := a.enter(guest, o)
	if err != nil {
		return err
	}
	code, err := s.Run(std, a.guestNote)
	if err == nil && code != 0 {
		err = errSaid
	}
	return err
}

// statGuest returns what is at a path in a guest.
func (a *app) statGuest(guest, p string) (channel.PathState, error) {
	var out bytes.Buffer
	if err := a.session(guest, channel.Opening{Stat: p}, control.Stdio{Out: &out, Err: a.stderr}); err != nil {
		return channel.PathState{}, err
	}
	return channel.ParsePathState(out.Bytes())
}

// copyOut copies out of a guest.
func (a *app) copyOut(c copyJob) error {
	from, err := a.statGuest(c.guest, c.inside)
	if err != nil {
		return err
	}
	follow := c.follow || transfer.Follows(c.inside)
	if !from.Exists && (follow || !from.Link) {
		return usageError{fmt.Sprintf("there is no %s in %s", c.inside, c.guest), ""}
	}
	folder := from.Folder && (follow || !from.Link)
	if !folder && strings.HasSuffix(c.inside, "/") {
		return usageError{fmt.Sprintf("%s in %s is no folder", c.inside, c.guest), ""}
	}
	read := &channel.Read{Path: path.Clean(c.inside), Name: path.Base(c.inside), Follow: follow}
	if c.local == "-" {
		if read.Name == "/" {
			read.Name = "."
		}
		return a.session(c.guest, channel.Opening{Read: read}, control.Stdio{Out: a.stdout, Err: a.stderr})
	}
	state, err := transfer.HostState(c.local)
	if err != nil {
		return err
	}
	to, err := transfer.Place(c.inside, folder, c.local, state)
	if err != nil {
		return usageError{err.Error(), ""}
	}
	read.Name = to.Name
	r, w := io.Pipe()
	unpacked := make(chan error, 1)
	go func() {
		err := transfer.Unpack(r, to.Dir, to.Name, c.owners, a.localNote)
		if err == nil { // what is behind the archive
			_, err = io.Copy(io.Discard, r)
		}
		r.CloseWithError(err)
		unpacked <- err
	}()
	err = a.session(c.guest, channel.Opening{Read: read}, control.Stdio{Out: w, Err: a.stderr})
	w.CloseWithError(err)
	if unpackErr := <-unpacked; err == nil || unpackErr != nil && !errors.Is(unpackErr, err) {
		err = unpackErr
	}
	return err
}

// copyIn copies into a guest.
func (a *app) copyIn(c copyJob) error {
	state, err := a.statGuest(c.guest, c.inside)
	if err != nil {
		return err
	}
	if c.local == "-" {
		return a.session(c.guest, channel.Opening{Write: &channel.Write{Path: c.inside, Owners: c.owners}},
			control.Stdio{In: a.stdin, Out: a.stdout, Err: a.stderr})
	}
	follow := c.follow || transfer.Follows(c.local)
	stat := os.Lstat
	if follow {
		stat = os.Stat
	}
	info, err := stat(c.local)
	if err != nil {
		return err
	}
	source := c.local
	if !transfer.IsContents(source) {
		if source, err = filepath.Abs(c.local); err != nil { // .. has a name, too
			return err
		}
	}
	to, err := transfer.Place(source, info.IsDir(), c.inside, transfer.State{Exists: state.Exists, Folder: state.Folder, Path: state.Path})
	if err != nil {
		return usageError{err.Error(), ""}
	}
	r, w := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := transfer.Pack(w, c.local, to.Name, follow, a.localNote)
		w.CloseWithError(err)
		packed <- err
	}()
	err = a.session(c.guest, channel.Opening{Write: &channel.Write{Path: to.Dir, Owners: c.owners}},
		control.Stdio{In: r, Out: a.stdout, Err: a.stderr})
	r.CloseWithError(io.ErrClosedPipe) // the guest may want no more
	if packErr := <-packed; packErr != nil && !errors.Is(packErr, io.ErrClosedPipe) {
		return packErr
	}
	return err
}

// localNote prints what is to be said of a file here.
func (a *app) localNote(line string) { a.note([]string{line}) }
