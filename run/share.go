package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"kiln/image"
	"kiln/run/qemu"
	"kiln/run/volume"
)

// share is the value of one -v: a folder of the host, or a volume.
type share struct {
	source   string
	path     string // mount point in the guest
	readOnly bool
}

// shareHint shows how -v is written.
const shareHint = "write -v VOLUME:/MOUNTPOINT or -v ./FOLDER:/MOUNTPOINT, with :ro behind it to only read"

// folder tells whether the source is a folder: a path, as it has a slash or is
// made of dots.
func (s share) folder() bool {
	return strings.Contains(s.source, "/") || s.source == "." || s.source == ".."
}

// parseShares reads the values of -v. Mount points must differ from those of
// disks, too.
func parseShares(values []string, disks []disk) ([]share, error) {
	taken := make(map[string]string)
	for _, d := range disks {
		if d.path != "" {
			taken[d.path] = d.file
		}
	}
	var shares []share
	for _, v := range values {
		s, err := parseShare(v)
		if err != nil {
			return nil, err
		}
		if other, ok := taken[s.path]; ok {
			return nil, inputError(fmt.Sprintf("-v %s: %s is mounted on %s already", v, other, s.path), "")
		}
		taken[s.path] = s.source
		shares = append(shares, s)
	}
	return shares, nil
}

// parseShare reads SOURCE:/MOUNTPOINT[:ro|:rw]. A folder may have colons.
func parseShare(v string) (share, error) {
	rest, s := v, share{}
	if r, ok := strings.CutSuffix(rest, ":ro"); ok {
		rest, s.readOnly = r, true
	} else if r, ok := strings.CutSuffix(rest, ":rw"); ok {
		rest = r
	}
	i := strings.LastIndex(rest, ":")
	if i < 0 {
		return share{}, inputError(fmt.Sprintf("-v %s: no mount point is named", v), shareHint)
	}
	s.source, s.path = rest[:i], rest[i+1:]
	switch {
	case s.source == "":
		return share{}, inputError(fmt.Sprintf("-v %s: neither a volume nor a folder is named", v), shareHint)
	case !strings.HasPrefix(s.path, "/"):
		return share{}, inputError(fmt.Sprintf("-v %s: the mount point %q does not begin with /", v, s.path), shareHint)
	}
	if s.path = path.Clean(s.path); s.path == "/" {
		return share{}, inputError(fmt.Sprintf("-v %s: the root is the image's; mount below it", v), shareHint)
	}
	return s, nil
}

// addShares adds what -v asks for to the plan. A volume is a disk more.
func (p *plan) addShares(shares []share, h host) error {
	for _, s := range shares {
		if s.folder() {
			p.addFolder(s, h)
			continue
		}
		if err := p.addVolume(s, h); err != nil {
			return volumeError(s, err)
		}
	}
	return nil
}

func (p *plan) addVolume(s share, h host) error {
	if err := volume.CheckName(s.source); err != nil {
		return err
	}
	var err error
	if p.store, err = volume.Default(h.getenv); err != nil {
		return err
	}
	p.volumes = append(p.volumes, s)
	d := disk{file: p.store.Path(s.source), path: s.path, format: qemu.Raw, readOnly: s.readOnly}
	m := d.mount(len(p.machine.Disks))
	m.Source = s.source
	p.machine.Disks = append(p.machine.Disks, d.disk())
	p.config.Mounts = append(p.config.Mounts, m)
	return nil
}

// addFolder adds a folder of the host. Who runs QEMU is root in the guest.
func (p *plan) addFolder(s share, h host) {
	tag := fmt.Sprintf("share%d", len(p.machine.Folders))
	p.machine.Folders = append(p.machine.Folders, qemu.Folder{Path: s.source, Tag: tag, ReadOnly: s.readOnly})
	p.config.Mounts = append(p.config.Mounts, image.Mount{
		Tag: tag, Path: s.path, Type: "9p", ReadOnly: s.readOnly, Source: s.source,
		UID: uint32(h.uid), GID: uint32(h.gid),
	})
}

func volumeError(s share, err error) error {
	e, ok := errors.AsType[*volume.Error](err)
	if !ok {
		return err
	}
	hint := e.Hint
	if _, err := os.Stat(s.source); err == nil {
		hint = fmt.Sprintf("if the folder is meant: -v ./%s:%s", s.source, s.path)
	}
	return inputError(fmt.Sprintf("-v: %s", e.Msg), hint)
}

// checkFolder looks whether a folder is there and may be used as asked.
func checkFolder(f *qemu.Folder) error {
	// QEMU would take a relative path for one from its own working folder.
	abs, err := filepath.Abs(f.Path)
	if err != nil {
		return inputError(fmt.Sprintf("-v %s: %v", f.Path, err), "")
	}
	st, err := os.Stat(abs)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return inputError(fmt.Sprintf("-v: there is no folder %s", f.Path), "")
	case err != nil:
		return inputError(fmt.Sprintf("-v: %v", err), "")
	case !st.IsDir():
		return inputError(fmt.Sprintf("-v: %s is no folder", f.Path), "a disk image goes into a guest by -b")
	case unix.Access(abs, unix.R_OK|unix.X_OK) != nil:
		return inputError(fmt.Sprintf("-v: %s may not be read", f.Path), "")
	case !f.ReadOnly && unix.Access(abs, unix.W_OK) != nil:
		return inputError(fmt.Sprintf("-v: %s may not be written", f.Path), "to only read it, put :ro behind the mount point")
	}
	f.Path = abs
	return nil
}
