package sentry

import (
	"fmt"

	"kiln/image"
)

// mountAll mounts what the configuration asks for.
func (s *Sentry) mountStorage() error {
	for _, m := range s.config.Mounts {
		return fmt.Errorf("%s on %s: this kernel has no file system for it", mountSource(m), m.Path)
	}
	return nil
}

// mountSource returns what the user calls m's device.
func mountSource(m image.Mount) string {
	switch {
	case m.Source != "":
		return m.Source
	case m.Device != "":
		return "/dev/" + m.Device
	default:
		return m.Tag
	}
}
