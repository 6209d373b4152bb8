// Package bake turns Linux programs into images: it finds what a program
// needs to run, puts that into a root file system, and adds the kernel
// components.
//
// Bake's body is the order of the work. Everything lies in the image where it
// lies on the host, unless the user says otherwise. The same inputs give the
// same bytes: files with their times, which SOURCE_DATE_EPOCH bounds.
package bake

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kiln/image"
)

// Options say what to bake.
type Options struct {
	Program string // path on the host
	Output  string // "" for the program's base name with ".img"
	Config  string // "" for image.DefaultConfig

	// Others are further programs. A run's configuration says which run;
	// without one Program does.
	Others []string

	Files []string // more files and directories, placed where they are on the host
	Add   []string // HOSTPATH[:GUESTPATH], files and directories

	// Root is a folder on the host that is laid out as a root file system:
	// what is in it is added at /. The program, libraries and interpreters
	// are looked for there before the host has them. "" for none.
	Root string
	// Owners are files and directories that do not belong to root.
	Owners []Owner

	// LibraryRoot is a folder like Root of which only what is needed is
	// taken: libraries and loaders. It comes after Root, and before the
	// host. "" for none.
	LibraryRoot string

	// Traced are files and directories, absolute, that a run of the program
	// on the host opened (package bake/trace).
	Traced []string

	// Debs are Debian packages, by name or as the path of a .deb, whose files
	// are added with what they depend on. The program is looked for among
	// them first; without Program it is the only one that they have.
	Debs []string

	// OCI is a container image, an OCI layout or an archive of docker save,
	// which takes the place of Program, Others, Files and Root: what it runs
	// is what it says, and Args replace its command. "" for none.
	OCI string

	// LibraryDirs are folders on the host where libraries are looked for
	// that are in none of the loader's: a sysroot's.
	LibraryDirs []string

	// Defaults of a run, stored in the manifest.
	Args     []string    // the program's arguments after its name
	Env      []string    // KEY=VALUE
	User     *image.User // nil for root
	Cwd      string
	Hostname string
	Memory   int // MB
	Network  []image.Network
	Ports    []string // HOST:GUEST

	// Kernel is the path of a kernel program, which runs in place of the
	// Sentry and the Linux program: then there is no root file system, and
	// Args are its arguments.
	Kernel string

	// Epoch, if not nil, is the latest time that a file of the image has:
	// what is newer gets this time.
	Epoch *time.Time

	// Hint, if not nil, is told what the user may want to do otherwise, in
	// lines without their end.
	Hint func(string)

	// Progress, if not nil, is told what is being done, in lines without
	// their end.
	Progress func(string)

	// Context, if not nil, ends the baking when it ends, with its cause as
	// the error.
	Context context.Context
}

// Bake writes an image and returns its manifest. What is wrong with the
// options or the files that they name is an *InputError; then, as after any
// error, the output is as it was.
func Bake(o Options) (*image.Manifest, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	if err := checkOutput(o.Output); err != nil {
		return nil, err
	}
	b := newBaker(o)
	defer b.close()
	m := o.manifest()
	var err error
	switch {
	case o.OCI != "":
		err = b.addContainer(m)
	case o.Kernel == "":
		err = b.addAll(m)
	}
	if err != nil {
		return nil, err
	}
	c, err := b.contents(m)
	if err != nil {
		return nil, err
	}
	p, err := layOut(c)
	if err != nil {
		return nil, err
	}
	if err := checkMemory(o.Memory, p.end); err != nil {
		return nil, err
	}
	b.progress("writing %s, %.1f MB", o.Output, float64(fileOffset(p.end))/1e6)
	files := func() []image.File {
		if o.Kernel == "" {
			m.Files = b.root.files()
		}
		return m.Files
	}
	if err := writeImage(b.ctx, o.Output, p, files); err != nil {
		return nil, err
	}
	return m, nil
}

// complete checks the options and fills in defaults.
func (o *Options) complete() error {
	main := o.Program
	if o.OCI != "" {
		if o.Program != "" || o.Kernel != "" || len(o.Others)+len(o.Files)+len(o.Debs) > 0 || o.Root != "" {
			return inputErrorf(o.OCI, "a container image says itself what it runs: no program, files, packages or root go with it")
		}
		main = o.OCI
		if o.Output == "" {
			o.Output = containerName(o.OCI)
		}
	}
	if o.Kernel != "" {
		main = o.Kernel
		if o.Program != "" || len(o.Others)+len(o.Files)+len(o.Add)+len(o.Debs) > 0 || o.Root != "" {
			return inputErrorf("", "a kernel program has no root file system: no program or files go with it")
		}
	}
	if main == "" && len(o.Debs) > 0 {
		// NAME, or the NAME_VERSION_ARCHITECTURE.deb of a path.
		main, _, _ = strings.Cut(filepath.Base(o.Debs[0]), "_")
	}
	if main == "" {
		return inputErrorf("", "no program named")
	}
	if o.Config == "" {
		o.Config = image.DefaultConfig
	}
	config, ok := image.FindConfig(o.Config)
	if !ok {
		return inputErrorf(o.Config, "no such configuration; there are %s", strings.Join(image.ConfigNames(), ", "))
	}
	o.Config = config.Name
	if o.Output == "" {
		o.Output = filepath.Base(main) + ".img"
	}
	if same(o.Output, main) {
		return inputErrorf(o.Output, "the output would replace the program")
	}
	if o.Cwd != "" && !strings.HasPrefix(o.Cwd, "/") {
		return inputErrorf(o.Cwd, "the working directory must be absolute")
	}
	if o.Memory < 0 {
		return inputErrorf("", "memory of %d MB", o.Memory)
	}
	for _, e := range o.Env {
		if name, _, ok := strings.Cut(e, "="); !ok || name == "" {
			return inputErrorf(e, "an environment variable is KEY=VALUE")
		}
	}
	return o.checkText()
}

// checkText checks what is stored as text: JSON, or a file of the guest's.
func (o *Options) checkText() error {
	if strings.ContainsAny(o.Hostname, "\n\x00/ ") {
		return inputErrorf("", "%q is no host name", o.Hostname)
	}
	for _, s := range slices.Concat(o.Args, o.Env, []string{o.Cwd}) {
		if strings.Contains(s, "\x00") {
			return inputErrorf("", "an argument or environment variable contains a NUL byte")
		}
	}
	return nil
}

// same reports whether both paths are the same existing file.
func same(a, b string) bool {
	sa, err := os.Stat(a)
	if err != nil {
		return false
	}
	sb, err := os.Stat(b)
	return err == nil && os.SameFile(sa, sb)
}

// manifest returns the manifest without what depends on files.
func (o *Options) manifest() *image.Manifest {
	return &image.Manifest{
		Version: image.ManifestVersion, Config: o.Config, Env: o.Env, User: o.User, Cwd: o.Cwd, Hostname: o.Hostname,
		Memory: o.Memory, Network: o.Network, Ports: o.Ports,
		Program: filepath.Base(o.Kernel), Args: append([]string{filepath.Base(o.Kernel)}, o.Args...),
	}
}

// checkMemory says so if memory MB, 0 for the default, cannot be enough for an
// image that is loaded up to the physical address end.
func checkMemory(memory int, end uint64) error {
	if least := image.LeastMemory(end); memory != 0 && memory < least {
		return inputErrorf("", "-M %d: this image and its kernel need at least %d MB of memory, and what the program itself takes", memory, least)
	}
	return nil
}

// A baker is one baking under way.
type baker struct {
	ctx     context.Context // the baking ends with it
	options Options
	root    *root
	pending []object // added, but not yet looked at for what they need

	cleanUp []func() error // what to do in the end

	loaders map[string]*loader // in the image, by path
	loader  *loader            // the first of them, which loads libraries that are added

	met map[string]bool // what was looked at: needs by name, folders of a program's own by path
}

func newBaker(o Options) *baker {
	return &baker{ctx: cmp.Or(o.Context, context.Background()), options: o, root: newRoot(), loaders: map[string]*loader{}, met: map[string]bool{}}
}

// close removes what was there for the time of baking.
func (b *baker) close() {
	for _, f := range b.cleanUp {
		if err := f(); err != nil {
			b.progress("cleaning up: %v", err)
		}
	}
}

func (b *baker) progress(format string, args ...any) {
	if b.options.Progress != nil {
		b.options.Progress(fmt.Sprintf(format, args...))
	}
}

func (b *baker) hint(format string, args ...any) {
	if b.options.Hint != nil {
		b.options.Hint(fmt.Sprintf(format, args...))
	}
}

// contents gathers what goes into the payload.
func (b *baker) contents(m *image.Manifest) (contents, error) {
	c := contents{args: []string{"kiln"}, env: []string{"GOTRACEBACK=all"}}
	m.Pipes = b.root.pipes()
	var err error
	if c.manifest, err = json.Marshal(m); err != nil {
		return c, fmt.Errorf("manifest: %w", err)
	}
	metal, err := component("metal")
	if err != nil {
		return c, err
	}
	if c.metal, err = readMetal(metal); err != nil {
		return c, err
	}
	if b.options.Kernel != "" {
		c.args, c.env = m.Args, append(c.env, b.options.Env...)
		raw, err := os.ReadFile(b.options.Kernel)
		if err != nil {
			return c, ioError(err)
		}
		c.kernel, err = readKernel(b.options.Kernel, raw)
		return c, err
	}
	kernel, err := component("kernel-" + b.options.Config)
	if err != nil {
		return c, err
	}
	if c.kernel, err = readKernel("kernel", kernel); err != nil {
		return c, err
	}
	b.root.settleDates(b.options.Epoch)
	plan, err := b.root.plan()
	if err != nil {
		return c, err
	}
	c.rootSize = uint64(plan.Size())
	c.rootFS = plan
	return c, nil
}

// addAll fills the root file system: what every image has, the program, the
// user's files, and what those need.
func (b *baker) addAll(m *image.Manifest) error {
	hostname := b.options.Hostname
	if hostname == "" {
		hostname = "kiln"
	}
	if err := b.root.addBase(hostname); err != nil {
		return err
	}
	if err := b.addRoot(); err != nil {
		return err
	}
	if err := b.addDebs(); err != nil {
		return err
	}
	program, err := b.addProgram(b.options.Program)
	if err != nil {
		return err
	}
	m.Program, m.Args[0] = program, program
	if len(b.options.Others) > 0 {
		m.Programs = []string{program}
	}
	for _, other := range b.options.Others {
		p, err := b.addProgram(other)
		if err != nil {
			return err
		}
		m.Programs = append(m.Programs, p)
	}
	for _, f := range b.options.Files {
		abs, err := filepath.Abs(f)
		if err != nil {
			return ioError(err)
		}
		if _, err := b.addHost(abs, reason{from: fromAdded}); err != nil {
			return err
		}
	}
	for _, a := range b.options.Add {
		if err := b.addUser(a); err != nil {
			return err
		}
	}
	if err := b.addTraced(); err != nil {
		return err
	}
	if err := b.addPending(); err != nil {
		return err
	}
	return b.setOwners()
}

// addProgram adds a program, and returns its path in the image.
func (b *baker) addProgram(program string) (string, error) {
	if b.options.Root != "" && path.IsAbs(program) {
		if b.root.hostFile(program) != "" {
			return b.startWith(path.Clean(program)), nil
		}
	}
	if p, ok := b.packageProgram(program); ok {
		return b.startWith(p), nil
	}
	abs, err := filepath.Abs(program)
	if err != nil {
		return "", ioError(err)
	}
	st, err := os.Stat(abs)
	if err != nil {
		return "", ioError(err)
	}
	if !st.Mode().IsRegular() {
		return "", inputErrorf(program, "not a file")
	}
	if baked, err := image.IsImage(abs); err != nil {
		return "", ioError(err)
	} else if baked {
		return "", inputErrorf(program, "is an image already")
	}
	if _, err := b.addHost(abs, reason{from: fromProgram}); err != nil {
		return "", err
	}
	b.root.lookup(abs).mode |= 0o111
	return abs, nil
}

// startWith has the file at p, which the image has from a folder or a package,
// looked at as a program before all others, and returns p.
func (b *baker) startWith(p string) string {
	e := b.root.lookup(p)
	e.mode |= 0o111
	o := object{host: e.host, guest: p, mode: e.mode, reason: reason{from: fromProgram}}
	b.pending = append([]object{o}, b.pending...)
	return p
}

// addPending looks at the files added so far, and adds what they need, until
// nothing is missing.
func (b *baker) addPending() error {
	done := map[string]bool{} // by path in the image
	for len(b.pending) > 0 {
		if err := b.ended(); err != nil {
			return err
		}
		o := b.pending[0]
		b.pending = b.pending[1:]
		if done[o.guest] {
			continue
		}
		done[o.guest] = true
		if err := b.addNeedsOf(o); err != nil {
			return err
		}
	}
	return nil
}

// addNeedsOf adds what a file needs to run.
func (b *baker) addNeedsOf(o object) error {
	l, err := readLinkage(o)
	var input *InputError
	switch {
	case errors.Is(err, errNotELF):
		return b.addInterpreter(o)
	case errors.As(err, &input) && o.from != fromProgram:
		return nil // data that happens to be ELF, for another machine perhaps
	case err != nil:
		return err
	}
	if e := b.root.lookup(o.guest); e != nil {
		e.build = l.build
	}
	if o.from == fromProgram {
		if err := checkProgram(o.host); err != nil {
			return err
		}
	}
	if !o.tree && !b.inRoot(o.host) && !b.ofPackage(o.guest) {
		if err := b.addRuntime(o.host); err != nil {
			return err
		}
	}
	if err := b.addNeeds(o, l); err != nil {
		return err
	}
	return b.addLookedFor(o, l)
}
