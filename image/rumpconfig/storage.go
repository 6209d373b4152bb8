package rumpconfig

import (
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"

	"kiln/image"
)

// storage collects what blk and mount say.
type storage struct {
	devices map[string]string // of the second form: the path behind a name
	mounts  []mount
}

// mount is one file system to mount.
type mount struct {
	key    string // for messages
	point  string
	kind   string // "blk", "kernfs" or "tmpfs"
	device string // of kind blk
	size   string // of kind tmpfs
}

// flatBlock is a blk member of the first form.
type flatBlock struct {
	Source     string `json:"source"`
	Path       string `json:"path"`
	FSType     string `json:"fstype"`
	MountPoint string `json:"mountpoint"`
}

// readBlock reads a blk member, of the first form if it has a source.
func (s *storage) readBlock(value json.RawMessage) error {
	members, err := readObject(value)
	if err != nil {
		return errorf("blk", "it is no object")
	}
	for _, m := range members {
		if m.key == "source" {
			return s.readFlat(value)
		}
	}
	for _, m := range members {
		key := "blk: " + m.key
		var entry struct {
			Type string `json:"type"`
			Path string `json:"path"`
		}
		if err := decode(key, m.value, &entry); err != nil {
			return err
		}
		if err := checkSource(key, entry.Type); err != nil {
			return err
		}
		if s.devices == nil {
			s.devices = map[string]string{}
		}
		s.devices[m.key] = entry.Path
	}
	return nil
}

// readFlat reads the first form.
func (s *storage) readFlat(value json.RawMessage) error {
	var b flatBlock
	if err := decode("blk", value, &b); err != nil {
		return err
	}
	if err := checkSource("blk", b.Source); err != nil {
		return err
	}
	if b.MountPoint == "" {
		return nil // a device without a file system
	}
	if b.FSType != "blk" && b.FSType != "kernfs" {
		return errorf("blk", "fstype %q of %s is neither blk nor kernfs", b.FSType, b.MountPoint)
	}
	s.mounts = append(s.mounts, mount{key: "blk", point: b.MountPoint, kind: b.FSType, device: b.Path})
	return nil
}

// checkSource checks where a block device comes from.
func checkSource(key, source string) error {
	switch source {
	case "dev", "etfs":
		return nil
	case "vnd":
		return errorf(key, "vnd, a file as a device, is not supported: attach the file by -b")
	}
	return errorf(key, "%q is neither dev nor etfs", source)
}

// readMount reads a mount member.
func (s *storage) readMount(value json.RawMessage) error {
	members, err := readObject(value)
	if err != nil {
		return errorf("mount", "it is no object")
	}
	for _, m := range members {
		key := "mount: " + m.key
		var entry struct {
			Source  string `json:"source"`
			Path    string `json:"path"`
			Options struct {
				Size string `json:"size"`
			} `json:"options"`
		}
		if err := decode(key, m.value, &entry); err != nil {
			return err
		}
		if entry.Source != "blk" && entry.Source != "kernfs" && entry.Source != "tmpfs" {
			return errorf(key, "source %q is none of blk, kernfs and tmpfs", entry.Source)
		}
		size := entry.Options.Size
		if size != "" && !sizeText.MatchString(size) {
			return errorf(key, "size %q is no number with k, M or G behind it", size)
		}
		s.mounts = append(s.mounts, mount{key, m.key, entry.Source, entry.Path, strings.ToLower(size)})
	}
	return nil
}

// finish returns the mounts, and lines about those that have no effect.
func (s *storage) finish() (mounts []image.Mount, notes []string, err error) {
	for _, m := range s.mounts {
		if !path.IsAbs(m.point) {
			return nil, nil, errorf(m.key, "%q is not an absolute path", m.point)
		}
		switch m.kind {
		case "kernfs":
			notes = append(notes, fmt.Sprintf("%s: there is no kernfs; /proc says what the kernel has to say", m.point))
			continue
		case "tmpfs":
			mounts = append(mounts, image.Mount{Path: path.Clean(m.point), Type: image.MemoryFS, Size: m.size})
			continue
		}
		device, err := s.device(m)
		if err != nil {
			return nil, nil, err
		}
		mounts = append(mounts, image.Mount{Device: device, Path: path.Clean(m.point), Source: m.device})
	}
	return mounts, notes, nil
}

// sizeText is the size of a tmpfs.
var sizeText = regexp.MustCompile(`^[0-9]{1,9}[kKmMgG]?$`)

// Names of block devices: NetBSD's of virtio, ld0a, Xen's, xvda, and Linux's.
var (
	numbered = regexp.MustCompile(`^(?:/dev/)?(?:ld|sd|xbd)([0-9]+)[a-z]?$`)
	lettered = regexp.MustCompile(`^(?:/dev/)?(?:blkfront:)?(?:xvd|vd|hd)([a-z])$`)
)

// device returns the guest's name for the device of m.
func (s *storage) device(m mount) (string, error) {
	name := m.device
	if behind, ok := s.devices[path.Base(name)]; ok {
		name = behind
	}
	if g := lettered.FindStringSubmatch(name); g != nil {
		return "vd" + g[1], nil
	}
	if g := numbered.FindStringSubmatch(name); g != nil {
		if n, err := strconv.Atoi(g[1]); err == nil && n < 26 {
			return "vd" + string(rune('a'+n)), nil
		}
	}
	return "", errorf(m.key, "%q is not the name of a block device, such as /dev/ld0a", m.device)
}
