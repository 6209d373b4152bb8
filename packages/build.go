package packages

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"kiln/bake"
)

// A Builder builds and checks packages.
type Builder struct {
	Kiln  string // path of the kiln command, which is the tool chain, too
	Cache string // folder of builds
	Data  string // folder of images
	Env   []string

	InstallDeps bool      // install missing Debian packages
	Force       bool      // build again what is built
	Verbose     io.Writer // where the output of builds goes besides the log; nil for nowhere

	// Context, if not nil, ends what is under way when it is done: scripts
	// and guests are stopped, and their folders cleared.
	Context context.Context

	// Say, if not nil, is told what is being done, in lines without their
	// end.
	Say func(string)
}

func (b *Builder) say(format string, args ...any) {
	if b.Say != nil {
		b.Say(fmt.Sprintf(format, args...))
	}
}

// context returns b.Context, or one that is never done.
func (b *Builder) context() context.Context {
	if b.Context != nil {
		return b.Context
	}
	return context.Background()
}

// group makes cmd a process group of its own, so that its context ends all
// that it started, too.
func group(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
}

// ImagePath returns where the image of a package is, once it was built.
func ImagePath(data, name string) string { return filepath.Join(data, "packages", name+".img") }

// IsBuilt reports whether a package was built.
func (b *Builder) IsBuilt(r *Recipe) bool {
	st, err := os.Stat(ImagePath(b.Data, r.Name))
	return err == nil && st.Mode().IsRegular()
}

// dir returns the folder that a package is built in.
func (b *Builder) dir(r *Recipe) string { return filepath.Join(b.Cache, "packages", r.Name) }

// Build makes the package's image and returns its path. What was built before
// from the same recipe is only baked again, with this kiln's kernel.
func (b *Builder) Build(r *Recipe) (string, error) {
	dir := b.dir(r)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(dir)
	if err != nil {
		return "", err
	}
	defer unlock()
	stamp, err := r.stamp()
	if err != nil {
		return "", err
	}
	began := time.Now()
	stampFile := filepath.Join(dir, "stamp")
	if old, err := os.ReadFile(stampFile); err != nil || string(old) != stamp || b.Force {
		if err := b.requireInstalled(r.Name, r.buildNeeds(), b.InstallDeps); err != nil {
			return "", err
		}
		if err := os.Remove(stampFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		if err := b.buildRoot(r, dir); err != nil {
			return "", err
		}
		if err := os.WriteFile(stampFile, []byte(stamp), 0o644); err != nil {
			return "", err
		}
	} else {
		b.say("%s: built before from this recipe", r.Name)
	}
	out := ImagePath(b.Data, r.Name)
	if err := b.bake(r, dir, out); err != nil {
		return "", err
	}
	b.say("%s: done in %v: %s", r.Name, time.Since(began).Round(100*time.Millisecond), out)
	return out, nil
}

// lock keeps two builds from working in one folder at a time.
func lock(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("locking %s: %w", f.Name(), err)
	}
	return func() { f.Close() }, nil // which unlocks
}

// stamp identifies what a build depends on: source and script, and the files
// beside the recipe.
func (r *Recipe) stamp() (string, error) {
	h := sha256.New()
	if err := json.NewEncoder(h).Encode([]any{"recipes, version 1", r.Source, r.Build}); err != nil {
		return "", err
	}
	err := fs.WalkDir(r.files, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || p == recipeFile {
			return err
		}
		text, err := fs.ReadFile(r.files, p)
		fmt.Fprintf(h, "%s %d\n%s", p, len(text), text)
		return err
	})
	return hex.EncodeToString(h.Sum(nil)) + "\n", err
}

// buildRoot fetches the source and makes the root file system.
func (b *Builder) buildRoot(r *Recipe, dir string) error {
	if err := emptyExcept(dir, "lock"); err != nil {
		return err
	}
	j, err := b.newJob(r, dir)
	if err != nil {
		return err
	}
	defer j.close()
	if err := j.prepare(); err != nil {
		return err
	}
	if err := j.fetch(); err != nil {
		return j.failed("fetching", err)
	}
	if r.Build.Script == "" {
		return nil
	}
	j.say("building; the log is %s", j.logPath())
	if err := j.script(r.Build.Script); err != nil {
		return j.failed("building", err)
	}
	return nil
}

// emptyExcept removes what is in dir but one file. Read-only folders, as Go
// makes them, are no obstacle.
func emptyExcept(dir, keep string) error {
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(p, 0o755)
		}
		return err
	})
	entries, rerr := os.ReadDir(dir)
	err = errors.Join(err, rerr)
	for _, e := range entries {
		if e.Name() != keep {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// bake makes the image.
func (b *Builder) bake(r *Recipe, dir, out string) error {
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	i := r.Image
	o := bake.Options{
		Program: i.Program, Output: out, Root: filepath.Join(dir, "root"), Args: i.Arguments, Env: i.Env, Cwd: i.Cwd,
		Ports: i.Ports, Memory: i.Memory, Hostname: r.Name, Add: i.Add, LibraryDirs: []string{filepath.Join(dir, "sysroot", "lib")},
		Progress: func(line string) { b.say("%s: %s", r.Name, line) },
	}
	if i.Root != "" {
		o.Root = filepath.Join(dir, i.Root)
	}
	if len(r.Source.Debs) > 0 {
		o.LibraryRoot = filepath.Join(dir, "deps")
	}
	if i.User != "" {
		var err error
		if o.User, err = bake.ParseUser(i.User); err != nil {
			return err
		}
	}
	for _, text := range i.Owners {
		owner, err := bake.ParseOwner(text)
		if err != nil {
			return err
		}
		o.Owners = append(o.Owners, owner)
	}
	var err error
	if o.Epoch, err = bake.ParseEpoch(b.getenv("SOURCE_DATE_EPOCH")); err != nil {
		return err
	}
	_, err = bake.Bake(o)
	return err
}

// getenv returns a variable of the user's environment, "" if it is not set.
func (b *Builder) getenv(name string) string {
	for _, e := range b.Env {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			return v
		}
	}
	return ""
}

// buildEnv returns the environment of builds: the user's, without what would
// change the result, and with what cross-compiles for Kiln.
func (b *Builder) buildEnv(set map[string]string) []string {
	without := []string{
		"CC", "CXX", "CPP", "LD", "AR", "AS", "NM", "RANLIB", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS", "LIBS", "DESTDIR",
		"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "KILN_LIBC", "KILN_LINK", "PKG_CONFIG_PATH", "PKG_CONFIG_LIBDIR", "GOFLAGS", "GOBIN", "GOOS", "GOARCH",
		"LANG", "LANGUAGE",
	}
	var env []string
	for _, e := range b.Env {
		name, _, _ := strings.Cut(e, "=")
		if _, ours := set[name]; !ours && !slices.Contains(without, name) && !strings.HasPrefix(name, "LC_") {
			env = append(env, e)
		}
	}
	for k, v := range set {
		env = append(env, k+"="+v)
	}
	slices.Sort(env)
	return env
}
