package bake

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"kiln/bake/oci"
	"kiln/image"
	"kiln/image/account"
)

// containerDirs are made in a container image that lacks them: the guest
// mounts or writes there.
var containerDirs = []string{"/dev", "/etc", "/proc", "/run", "/sys", "/tmp"}

// containerFiles are those of the base that a container image gets if it lacks
// them: what a C library reads.
var containerFiles = []string{"/etc/nsswitch.conf", "/etc/protocols", "/etc/services"}

// addContainer fills the root file system with a container image, and the
// manifest with how it is run. The image is complete in itself: nothing of the
// host is added but what the user names.
func (b *baker) addContainer(m *image.Manifest) error {
	name := b.options.OCI
	img, err := oci.Open(b.ctx, name)
	if err != nil {
		return containerError(err)
	}
	b.cleanUp = append(b.cleanUp, img.Close)
	dir, err := os.MkdirTemp("", "kiln-layers-")
	if err != nil {
		return err
	}
	b.cleanUp = append(b.cleanUp, func() error { return os.RemoveAll(dir) })
	tree, err := img.Files(dir, func(p string) { b.progress("left out: %s is neither file, directory nor link", p) })
	if err != nil {
		return containerError(err)
	}
	if err := b.addTree(tree); err != nil {
		return err
	}
	for _, a := range b.options.Add {
		if err := b.addUser(a); err != nil {
			return err
		}
	}
	c := container{b, name, tree, m}
	c.environment(img.Config.Env)
	m.Exposed = exposed(img.Config.ExposedPorts)
	m.Labels = labels(img.Config.Labels)
	m.Health = health(img.Config.Healthcheck)
	if m.StopSignal, err = stopSignal(img.Config.StopSignal); err != nil {
		return inputErrorf(name, "%v", err)
	}
	for _, step := range []func() error{
		func() error { return c.volumes(img.Config.Volumes) },
		func() error { return c.directory(img.Config.WorkingDir) },
		func() error { return c.user(img.Config.User) },
		func() error { return c.program(img.Config.Entrypoint, img.Config.Cmd) },
		b.setOwners,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// containerError returns what reading a container image failed by.
func containerError(err error) error {
	if _, ok := errors.AsType[*oci.Error](err); ok {
		return &InputError{Msg: "container image", Err: err}
	}
	return err
}

// addTree adds the files of a container image. What lies where the guest
// mounts its own file systems is left out.
func (b *baker) addTree(tree oci.Tree) error {
	entries := map[*oci.File]*entry{} // hard links are one entry
	for p, f := range tree {
		if under(p, mountPoints...) {
			continue
		}
		e := entries[f]
		if e == nil {
			e = &entry{mode: f.Mode, from: fromAdded, host: f.Host, size: f.Size, mtime: f.MTime, uid: f.UID, gid: f.GID, link: f.Link}
			entries[f] = e
		}
		b.root.entries[p] = e
	}
	for _, d := range containerDirs {
		mode := fs.FileMode(0o755)
		if d == "/tmp" {
			mode = 0o777 | fs.ModeSticky
		}
		if b.root.lookup(d) != nil {
			continue
		}
		if err := b.root.mkdir(d, mode, fromBase); err != nil {
			return err
		}
	}
	for _, p := range containerFiles {
		if b.root.lookup(p) != nil {
			continue
		}
		if err := b.root.text(p, baseFiles[p], fromBase); err != nil {
			return err
		}
	}
	if at, err := b.root.resolve(mtab[0], false); err == nil && b.root.entries[at] == nil {
		return b.root.symlink(mtab[0], mtab[1], fromBase)
	}
	return nil
}

// A container is a container image while its configuration is carried over to
// a manifest.
type container struct {
	*baker
	name     string
	tree     oci.Tree
	manifest *image.Manifest
}

// environment sets the variables: the image's, and the user's before them.
func (c container) environment(env []string) {
	var out []string
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		if !hasVariable(c.manifest.Env, name) {
			out = append(out, e)
		}
	}
	c.manifest.Env = append(out, c.manifest.Env...)
}

// variable returns the value of a variable, or def.
func (c container) variable(name, def string) string {
	for _, e := range c.manifest.Env {
		if value, ok := strings.CutPrefix(e, name+"="); ok {
			return value
		}
	}
	return def
}

// hasVariable reports whether env sets name.
func hasVariable(env []string, name string) bool {
	return slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, name+"=") })
}

// directory sets the working directory, and makes it.
func (c container) directory(dir string) error {
	m := c.manifest
	if m.Cwd == "" {
		if dir == "" {
			return nil
		}
		m.Cwd = path.Clean("/" + dir)
	}
	if e := c.root.lookup(m.Cwd); e == nil {
		return c.root.mkdir(m.Cwd, 0o755, fromAdded)
	} else if !e.mode.IsDir() {
		return inputErrorf(c.name, "its working directory %s is no directory", m.Cwd)
	}
	return nil
}

// volumes makes the folders that the image wants to be volumes of: what is
// written there stays only if the user mounts something there (-v).
func (c container) volumes(volumes map[string]struct{}) error {
	for _, dir := range slices.Sorted(maps.Keys(volumes)) {
		dir = path.Clean("/" + dir)
		if e := c.root.lookup(dir); e != nil || under(dir, mountPoints...) {
			continue
		}
		if err := c.root.mkdir(dir, 0o755, fromAdded); err != nil {
			return err
		}
	}
	return nil
}

// program sets what runs: the entry point with the user's arguments, or else
// the image's.
func (c container) program(entrypoint, cmd []string) error {
	rest := cmd
	if len(c.options.Args) > 0 {
		rest = c.options.Args
	}
	args := slices.Concat(entrypoint, rest)
	if len(args) == 0 || args[0] == "" {
		return inputErrorf(c.name, "names neither an entry point nor a command: name the program behind --")
	}
	p, err := c.lookUp(args[0])
	if err != nil {
		return err
	}
	c.manifest.Program, c.manifest.Args, c.manifest.FixedArgs = p, args, len(entrypoint)
	c.manifest.ReplaceProgram = len(entrypoint) == 0
	return c.check(p)
}

// lookUp returns where a program is, as execvp(3) looks for it.
func (c container) lookUp(name string) (string, error) {
	isFile := func(p string) bool {
		e := c.root.lookup(p)
		return e != nil && e.mode.IsRegular() && e.mode&0o111 != 0
	}
	if strings.Contains(name, "/") {
		if !path.IsAbs(name) {
			name = path.Join("/", c.manifest.Cwd, name)
		}
		if isFile(name) {
			return path.Clean(name), nil
		}
		return "", inputErrorf(c.name, "its program %s is not in the image, or is no program", name)
	}
	where := c.variable("PATH", strings.Join(programPath, ":"))
	for _, dir := range strings.Split(where, ":") {
		if p := path.Join("/", dir, name); isFile(p) {
			return p, nil
		}
	}
	return "", inputErrorf(c.name, "its program %s is not in the image's PATH, %s", name, where)
}

// check reports a program that the image cannot run.
func (c container) check(p string) error {
	e := c.root.lookup(p)
	o := object{host: e.host, guest: p, mode: e.mode, reason: reason{from: fromProgram}}
	l, err := readLinkage(o)
	switch {
	case errors.Is(err, errNotELF):
		line, err := firstLine(e.host)
		if err != nil {
			return err
		}
		interp, _, ok := parseScript(line)
		if !ok {
			return inputErrorf(c.name, "its program %s is neither an ELF file nor a script", p)
		}
		if c.root.lookup(interp) == nil {
			return inputErrorf(c.name, "its program %s needs the interpreter %s, which is not in the image", p, interp)
		}
		return nil
	case err != nil:
		if input, ok := errors.AsType[*InputError](err); ok {
			return inputErrorf(c.name, "its program %s: %s", p, input.Msg) // not the name of our copy
		}
		return err
	case l.interp != "" && c.root.lookup(l.interp) == nil:
		return inputErrorf(c.name, "its program %s needs the loader %s, which is not in the image", p, l.interp)
	}
	e.build = l.build
	return nil
}

// exposed lists the ports of an image's configuration, "80/tcp".
func exposed(ports map[string]struct{}) []string {
	var out []string
	for p := range ports {
		out = append(out, p)
	}
	slices.Sort(out)
	return out
}

// labels lists an image's labels, KEY=VALUE, by key.
func labels(all map[string]string) []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(all)) {
		out = append(out, key+"="+all[key])
	}
	return out
}

// health returns an image's check of its program, nil if it has none.
func health(h *v1.HealthConfig) *image.Health {
	if h == nil || len(h.Test) == 0 {
		return nil
	}
	return &image.Health{
		Test: h.Test, Interval: int(h.Interval.Milliseconds()), Timeout: int(h.Timeout.Milliseconds()),
		StartPeriod: int(h.StartPeriod.Milliseconds()), Retries: h.Retries,
	}
}

// stopSignal returns the name of a signal that an image's configuration gives by
// name or number, "" if it gives none.
func stopSignal(text string) (string, error) {
	name := strings.TrimPrefix(text, "SIG")
	if n, err := strconv.Atoi(text); err == nil {
		name = strings.TrimPrefix(unix.SignalName(unix.Signal(n)), "SIG")
	}
	if text != "" && unix.SignalNum("SIG"+name) == 0 {
		return "", fmt.Errorf("its stop signal %q does not exist", text)
	}
	return name, nil
}

// user sets the user that the program runs as: NAME or UID, and perhaps a
// group behind a colon.
func (c container) user(text string) error {
	if text == "" || c.manifest.User != nil { // the baker's user says otherwise
		return nil
	}
	u, home, err := account.Files{Passwd: c.text("/etc/passwd"), Group: c.text("/etc/group")}.Find(text)
	if err != nil {
		return inputErrorf(c.name, "whom it runs as: %v", err)
	}
	if home != "" && !hasVariable(c.manifest.Env, "HOME") {
		c.manifest.Env = append(c.manifest.Env, "HOME="+home)
	}
	c.manifest.User = &u
	return nil
}

// text returns what is in a file. One that does not exist is empty.
func (c container) text(file string) string {
	f := c.tree.Lookup(file)
	if f == nil || f.Host == "" {
		return ""
	}
	b, err := os.ReadFile(f.Host)
	if err != nil {
		c.progress("%s: %v", file, err)
	}
	return string(b)
}

// containerName returns the name of an image file for a container image.
func containerName(file string) string {
	base := path.Base(path.Clean(file))
	for _, suffix := range []string{".gz", ".tgz", ".tar"} {
		base = strings.TrimSuffix(base, suffix)
	}
	return fmt.Sprintf("%s.img", base)
}
