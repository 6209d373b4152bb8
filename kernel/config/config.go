// Package config puts together what one boot is to do: the image's manifest
// and what `kiln run` passed to this run of it.
package config

import (
	"encoding/json"
	"fmt"
	"time"

	"kiln/image"
	"kiln/image/rumpconfig"
	"kiln/kernel/machine"
	"kiln/kernel/sentry"
)

// grace returns how long a program may take to end after a request to shut
// down before it is killed. A fifth of the host's patience is left for what
// comes after: writing back and unmounting.
func grace(r image.RunConfig) time.Duration {
	timeout := r.StopTimeout
	if timeout <= 0 {
		timeout = image.DefaultStopTimeout
	}
	return time.Duration(timeout) * time.Millisecond * 4 / 5
}

// Load reads both from the machine, merges them, and adds them to c.
func Load(c *sentry.Config) error {
	loaded, err := load()
	if err != nil {
		return err
	}
	loaded.Devices, loaded.Broken, loaded.Link = c.Devices, c.Broken, c.Link
	*c = loaded
	return nil
}

// load reads both and merges them.
func load() (sentry.Config, error) {
	var m image.Manifest
	var r image.RunConfig
	b, err := machine.Manifest()
	if err != nil {
		return sentry.Config{}, err
	}
	if !image.DecodePlain(b, &m) {
		m = image.Manifest{}
		if err := json.Unmarshal(b, &m); err != nil {
			return sentry.Config{}, fmt.Errorf("manifest: %w", err)
		}
	}
	if b, err = machine.RunConfig(); err != nil {
		return sentry.Config{}, err
	}
	if b != nil {
		if r, err = readRunConfig(b, &m); err != nil {
			return sentry.Config{}, err
		}
	}
	return merge(m, r)
}

// readRunConfig reads the run configuration: Kiln's own, or Rumprun's, with
// which an image can be started without kiln run.
func readRunConfig(b []byte, m *image.Manifest) (r image.RunConfig, err error) {
	if image.DecodePlain(b, &r) {
		return r, nil
	}
	r = image.RunConfig{}
	if rumpconfig.Is(b) {
		c, err := rumpconfig.Parse(b)
		if err != nil {
			return r, err
		}
		commands, err := c.Commands(m)
		return image.RunConfig{
			Commands: commands, Env: c.Env, Hostname: c.Hostname, Network: c.Networks, Mounts: c.Mounts,
		}, err
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("run configuration: %w", err)
	}
	return r, nil
}

// merge returns the configuration for one run of an image.
func merge(m image.Manifest, r image.RunConfig) (sentry.Config, error) {
	c := sentry.Config{
		Programs:  programs(m, r),
		Env:       mergeEnv(m.Env, r.Env),
		User:      m.User,
		Cwd:       either(r.Cwd, m.Cwd),
		Hostname:  either(r.Hostname, m.Hostname),
		Processes: r.Processes,
		Strace:    r.Strace,
		Faults:    r.Faults,
		Terminal:  r.Interactive,
		Rows:      r.Rows,
		Cols:      r.Cols,
		Stdin:     r.Stdin,
		Verbose:   r.Verbose,
		Stop:      m.StopSignal,
		Grace:     grace(r),
		Pipes:     m.Pipes,
		Mounts:    append(m.Mounts[:len(m.Mounts):len(m.Mounts)], r.Mounts...),
	}
	networks := m.Network
	if len(r.Network) > 0 {
		networks = r.Network
	}
	var err error
	c.Interfaces, err = interfaces(networks)
	return c, err
}

// programs returns what to run.
func programs(m image.Manifest, r image.RunConfig) []sentry.Program {
	if len(r.Commands) > 0 {
		var all []sentry.Program
		for _, c := range r.Commands {
			all = append(all, sentry.Program{Path: c.Program, Args: c.Args, Mode: c.Mode})
		}
		return all
	}
	p := sentry.Program{Path: m.Program, Args: m.Argv(r.Args)}
	if len(r.Args) > 0 && m.ReplaceProgram {
		p.Path = ""
	}
	return []sentry.Program{p}
}

// either returns a unless it is empty, then b.
func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
