package packages

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"kiln/cc"
)

// A job is one build under way, in a folder of its own:
//
//	source/    the source, where the script runs
//	root/      the root file system that it fills ($ROOT)
//	sysroot/   libraries that it builds on the way ($KILN_SYSROOT)
//	recipe/    the recipe's files ($RECIPE)
//	deps/      unpacked binary packages
//	log        the output
type job struct {
	b    *Builder
	r    *Recipe
	dir  string
	log  *os.File
	tail *tail
	env  []string
}

func (b *Builder) newJob(r *Recipe, dir string) (*job, error) {
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	return &job{b: b, r: r, dir: dir, log: log, tail: &tail{}}, nil
}

func (j *job) close() { j.log.Close() }

func (j *job) logPath() string { return j.log.Name() }

func (j *job) say(format string, args ...any) {
	j.b.say("%s: %s", j.r.Name, fmt.Sprintf(format, args...))
}

// output is where commands write.
func (j *job) output() io.Writer {
	if j.b.Verbose != nil {
		return io.MultiWriter(j.log, j.tail, j.b.Verbose)
	}
	return io.MultiWriter(j.log, j.tail)
}

// failed returns err with where to read more. The last lines of the log are
// said, for they mostly have the cause.
func (j *job) failed(doing string, err error) error {
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: %s was interrupted", j.r.Name, doing)
	}
	for _, line := range j.tail.last(15) {
		j.say("| %s", line)
	}
	return fmt.Errorf("%s: %s failed: %w; the log is %s", j.r.Name, doing, err, j.logPath())
}

// prepare makes the folders and the environment of the script.
func (j *job) prepare() error {
	at := func(elem ...string) string { return filepath.Join(append([]string{j.dir}, elem...)...) }
	for _, d := range []string{"root", "tools", "recipe", "share"} {
		if err := os.MkdirAll(at(d), 0o755); err != nil {
			return err
		}
	}
	for _, name := range cc.Names() {
		if err := os.Symlink(j.b.Kiln, at("tools", name)); err != nil {
			return err
		}
	}
	if err := copyTree(j.r.files, at("recipe")); err != nil {
		return err
	}
	files, err := cc.WriteFiles(at("share"), at("share"), at("sysroot"))
	if err != nil {
		return err
	}
	pathList := at("tools")
	if v := j.b.getenv("PATH"); v != "" {
		pathList += ":" + v
	}
	set := map[string]string{
		"PATH": pathList, "HOST": cc.Tuple, "ROOT": at("root"), "RECIPE": at("recipe"), "BUILD": j.dir,
		"KILN_SYSROOT": at("sysroot"), "CMAKE_TOOLCHAIN_FILE": files.CMake, "CONFIG_SITE": files.Site, "XDG_DATA_HOME": at("share"),
		"JOBS": fmt.Sprint(runtime.NumCPU()), "LC_ALL": "C.UTF-8", "SOURCE_DATE_EPOCH": "1",
	}
	for name, tool := range map[string]string{"CC": "gcc", "CXX": "g++", "AR": "gcc-ar", "RANLIB": "gcc-ranlib", "STRIP": "strip", "PKG_CONFIG": "pkg-config"} {
		set[name] = cc.Tuple + "-" + tool
	}
	j.env = j.b.buildEnv(set)
	return nil
}

// copyTree copies the files of a recipe.
func copyTree(files fs.FS, to string) error {
	return fs.WalkDir(files, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, p), 0o755)
		}
		text, err := fs.ReadFile(files, p)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, p), text, 0o755)
	})
}

// fetch gets what the recipe is made of.
func (j *job) fetch() error {
	switch s := j.r.Source; {
	case s.Go != "":
		return j.fetchGo(s.Go)
	case len(s.Debs) > 0:
		return j.fetchDebs()
	}
	a, unlock, err := j.apt()
	if err != nil {
		return err
	}
	defer unlock()
	j.say("fetching the source")
	return a.source(j.output(), j.dir, j.r.Source.Debian)
}

// apt returns a ready configuration of apt-get, for this job alone.
func (j *job) apt() (apt, func(), error) {
	a := apt{dir: filepath.Join(j.b.Cache, "apt")}
	if err := os.MkdirAll(a.dir, 0o755); err != nil {
		return a, nil, err
	}
	unlock, err := lock(a.dir)
	if err != nil {
		return a, nil, err
	}
	if err := a.prepare(j.output(), j.say); err != nil {
		unlock()
		return a, nil, err
	}
	return a, unlock, nil
}

// fetchGo builds a Go command, statically linked, into root/usr/bin.
func (j *job) fetchGo(command string) error {
	goTool, err := exec.LookPath("go")
	if err != nil {
		return &Error{"go: not found in PATH", "this package is built by Go: https://go.dev/dl"}
	}
	if err := os.MkdirAll(filepath.Join(j.dir, "source"), 0o755); err != nil {
		return err
	}
	j.say("building %s; the log is %s", command, j.logPath())
	cmd := exec.CommandContext(j.b.context(), goTool, "install", "-v", "-trimpath", "-ldflags=-s -w", command)
	cmd.Dir = filepath.Join(j.dir, "source")
	cmd.Env = append(j.env, "CGO_ENABLED=0", "GOBIN="+filepath.Join(j.dir, "root/usr/bin"), "GOFLAGS=", "GOWORK=off")
	return j.run(cmd)
}

// fetchDebs unpacks binary packages: all to deps, those that the image has
// whole to root, too.
func (j *job) fetchDebs() error {
	a, unlock, err := j.apt()
	if err != nil {
		return err
	}
	defer unlock()
	j.say("fetching %s and what it depends on", strings.Join(j.r.Source.Debs, " "))
	files, err := a.debs(j.output(), j.r.Source.Debs)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(j.dir, "source"), 0o755); err != nil {
		return err
	}
	whole := 0
	for _, f := range files {
		to := []string{"deps"}
		name, _, _ := strings.Cut(filepath.Base(f), "_")
		for _, pattern := range j.r.Source.Unpack {
			if ok, err := path.Match(pattern, name); err == nil && ok {
				to = append(to, "root")
				whole++
				break
			}
		}
		for _, dir := range to {
			if err := j.run(exec.CommandContext(j.b.context(), "dpkg-deb", "-x", f, filepath.Join(j.dir, dir))); err != nil {
				return err
			}
		}
	}
	if whole == 0 {
		return errorf("the recipe of %s: source.unpack matches none of %d packages", j.r.Name, len(files))
	}
	return nil
}

// script runs a script of the recipe's in the source's folder.
func (j *job) script(text string) error {
	cmd := exec.CommandContext(j.b.context(), "/bin/sh", "-euxc", text)
	cmd.Dir = filepath.Join(j.dir, "source")
	cmd.Env = j.env
	return j.run(cmd)
}

// beat is how often a build that goes on says so.
const beat = 20 * time.Second

// run runs a command of the builder's context, with a sign of life now and
// then.
func (j *job) run(cmd *exec.Cmd) error {
	group(cmd)
	cmd.Stdout = j.output()
	cmd.Stderr = cmd.Stdout // one writer: no two writes at a time
	began := time.Now()
	ticker := time.NewTicker(beat)
	defer ticker.Stop()
	done := make(chan error, 1)
	go func() { done <- cmd.Run() }()
	for {
		select {
		case err := <-done:
			if ended := j.b.context().Err(); ended != nil {
				return ended
			}
			return err
		case <-ticker.C:
			line := strings.Join(j.tail.last(1), "")
			j.say("%v: %.100s", time.Since(began).Round(time.Second), line)
		}
	}
}

// A tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte // guarded by mu
}

const tailSize = 16 << 10

// Write implements io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	if over := len(t.text) - tailSize; over > tailSize {
		t.text = append([]byte(nil), t.text[over:]...)
	}
	return len(b), nil
}

// last returns the last n lines that are not empty.
func (t *tail) last(n int) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var lines []string
	for line := range bytes.Lines(t.text) {
		if s := strings.TrimRight(string(line), " \r\n"); s != "" {
			lines = append(lines, s)
		}
	}
	return lines[max(0, len(lines)-n):]
}
