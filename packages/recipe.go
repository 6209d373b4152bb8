package packages

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"kiln/bake"
)

// A Recipe says how to make and check a package.
type Recipe struct {
	Name   string `toml:"-"`
	About  string // one line
	Source Source
	Build  Build
	Image  Image
	Check  []Check

	files fs.FS // the recipe's folder
}

// Source is where a package comes from: exactly one of these.
type Source struct {
	Debian []string // names of a source package, which may differ between releases: the first that exists counts
	Go     string   // a Go command, PACKAGE@VERSION
	Debs   []string // binary packages, with all that they depend on

	// Unpack are patterns, as of a shell, for those of Debs and their
	// dependencies that the image has whole. Of the others it has the
	// libraries that are needed.
	Unpack []string
}

// Build is how a root file system is made of the source.
type Build struct {
	Needs  []string // Debian packages, on the host
	Script string   // of a POSIX shell, run in the source's folder
}

// Image is what is baked.
type Image struct {
	Program   string // its path in the guest
	Arguments []string
	Env       []string
	Cwd       string
	User      string   // UID[:GID], as of kiln bake --user; "" for root
	Ports     []string // HOST:GUEST, as of kiln bake -p
	Memory    int      // MB
	Owners    []string // PATH=UID[:GID], as of kiln bake --owner
	Add       []string // the host's files, HOSTPATH[:GUESTPATH], as of kiln bake --add
	Root      string   // the folder below the build's that has the root file system; "" for root
}

// Check is one way to find out whether the package works.
type Check struct {
	Name      string
	Needs     []string // Debian packages, on the host
	Arguments []string // in place of the image's, if given
	Memory    int      // MB, in place of the image's
	Ready     string   // a shell command that succeeds once the guest serves; without it, Script runs the guest
	Script    string   // of a POSIX shell; it succeeds if all is well
	Timeout   duration // for each of Ready and Script
}

// duration is a time.Duration in a recipe, "90s".
type duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v <= 0 {
		return fmt.Errorf("%q is no time like 90s", text)
	}
	*d = duration(v)
	return nil
}

// parse reads and checks a recipe.
func parse(name, text string) (*Recipe, error) {
	r := &Recipe{Name: name}
	wrong := func(format string, args ...any) error {
		return errorf("the recipe of %s: %s", name, fmt.Sprintf(format, args...))
	}
	meta, err := toml.Decode(text, r)
	if parse, ok := errors.AsType[toml.ParseError](err); ok {
		return nil, wrong("line %d: %s", parse.Position.Line, oneLine(parse.Message+" "+parse.Usage))
	} else if err != nil {
		return nil, wrong("%s", oneLine(strings.TrimPrefix(err.Error(), "toml: ")))
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, wrong("there is no key %s", unknown[0])
	}
	if err := r.validate(); err != nil {
		return nil, wrong("%v", err)
	}
	return r, nil
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// goCommand matches PACKAGE@VERSION.
var goCommand = regexp.MustCompile(`^[\w.-]+\.\w+/[\w./-]+@v[\w.+-]+$`)

// debianName matches names of Debian packages (Debian Policy, §5.6.7).
var debianName = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)

// validate says what is wrong with r.
func (r *Recipe) validate() error {
	s := r.Source
	sources := 0
	for _, given := range []bool{len(s.Debian) > 0, s.Go != "", len(s.Debs) > 0} {
		if given {
			sources++
		}
	}
	switch {
	case r.About == "":
		return errors.New("about is missing")
	case sources != 1:
		return errors.New("source needs exactly one of debian, go and debs")
	case s.Go != "" && !goCommand.MatchString(s.Go):
		return fmt.Errorf("source.go: %q is not PACKAGE@VERSION", s.Go)
	case len(s.Debian) > 0 && r.Build.Script == "":
		return errors.New("build.script is missing")
	case len(s.Unpack) > 0 && len(s.Debs) == 0:
		return errors.New("source.unpack goes with source.debs")
	case !path.IsAbs(r.Image.Program):
		return fmt.Errorf("image.program: %q is no absolute path", r.Image.Program)
	case r.Image.Root != "" && !fs.ValidPath(r.Image.Root):
		return fmt.Errorf("image.root: %q is no path below the build's folder", r.Image.Root)
	case len(r.Check) == 0:
		return errors.New("there is no check")
	}
	for _, p := range s.Unpack {
		if _, err := path.Match(p, ""); err != nil {
			return fmt.Errorf("source.unpack: %q is no pattern", p)
		}
	}
	for _, n := range slices.Concat(s.Debian, s.Debs, r.Needs()) {
		if !debianName.MatchString(n) {
			return fmt.Errorf("%q is no name of a Debian package", n)
		}
	}
	for _, o := range r.Image.Owners {
		if _, err := bake.ParseOwner(o); err != nil {
			return fmt.Errorf("image.owners: %w", err)
		}
	}
	if r.Image.User != "" {
		if _, err := bake.ParseUser(r.Image.User); err != nil {
			return fmt.Errorf("image.user: %w", err)
		}
	}
	for _, p := range r.Image.Ports {
		if _, err := guestPort(p); err != nil {
			return fmt.Errorf("image.ports: %w", err)
		}
	}
	for i, c := range r.Check {
		if c.Name == "" || c.Script == "" {
			return fmt.Errorf("check %d needs a name and a script", i+1)
		}
		if c.Ready != "" && len(r.Image.Ports) == 0 {
			return fmt.Errorf("check %q: ready is for packages with image.ports", c.Name)
		}
	}
	return nil
}

// guestPort returns the guest's side of HOST:GUEST.
func guestPort(p string) (string, error) {
	host, guest, ok := strings.Cut(p, ":")
	for _, n := range []string{host, guest} {
		if v, err := strconv.ParseUint(n, 10, 16); !ok || err != nil || v == 0 {
			return "", fmt.Errorf("%q is not HOST:GUEST", p)
		}
	}
	return guest, nil
}

// Needs returns the Debian packages that building and checking need, sorted.
func (r *Recipe) Needs() []string {
	return sorted(r.buildNeeds(), r.checkNeeds())
}

// buildNeeds returns those for building; fetching has needs, too.
func (r *Recipe) buildNeeds() []string {
	needs := r.Build.Needs
	switch {
	case len(r.Source.Debian) > 0:
		// dpkg-source unpacks and patches.
		needs = slices.Concat(needs, []string{"dpkg-dev", "gcc", "libc6-dev", "make", "patch", "xz-utils"})
	case r.Source.Go != "":
		needs = slices.Concat(needs, []string{"ca-certificates"})
	}
	return sorted(needs)
}

func (r *Recipe) checkNeeds() []string {
	var needs []string
	for _, c := range r.Check {
		needs = append(needs, c.Needs...)
	}
	return sorted(needs)
}

func sorted(lists ...[]string) []string {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return slices.Compact(all)
}
