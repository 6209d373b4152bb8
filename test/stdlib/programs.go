package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"kiln/test/outcomes"
)

// programs is the table of packages whose tests run as ordinary programs: those
// that ask most of an operating system. The fast ones are for the ordinary check,
// and few, because each boots a guest of its own.
var programs = []pkg{
	{path: "io/fs", fast: true},
	{path: "path/filepath", fast: true, needs: []string{"src/unicode"}},
	{path: "os", needs: []string{"src/io"}},
	{path: "os/exec"},
	{path: "os/signal"},
	{path: "os/user"},
	{path: "net", needs: []string{"src/testdata"}},
	{path: "syscall"},
	{path: "time"},
}

// goFiles are what the tests find of Go itself below GOROOT: as much as they ask
// whether they can start the go command, and the time zones.
var goFiles = []string{"bin/go", "bin/gofmt", "pkg/tool/linux_amd64/compile", "lib/time", "VERSION", "go.env"}

// tools are this machine's commands that tests start.
var tools = []string{"cat", "date", "echo", "env", "hostname", "id", "ls", "mount", "nohup", "ps", "pwd", "sh", "sleep", "stty", "tr", "true",
	"whoami", "yes"}

// onKiln bakes the binary as a program, with the sources that its tests look at,
// where they are on this machine, and boots that.
func (m machine) onKiln(ctx context.Context, p pkg, bin string, timeout time.Duration) ([]byte, error) {
	dir, err := sourceDir(ctx, p)
	if err != nil {
		return nil, err
	}
	root := filepath.Join(filepath.Dir(bin), "root")
	goroot := strings.TrimSuffix(dir, "/src/"+p.path)
	for _, name := range append(append([]string{"src/" + p.path}, goFiles...), p.needs...) {
		if err := copyTree(filepath.Join(goroot, name), filepath.Join(root, goroot, name)); err != nil {
			return nil, fmt.Errorf("copying what the tests of %s read: %w", p.path, err)
		}
	}
	img := filepath.Join(filepath.Dir(bin), "program.img")
	args := []string{"bake", "-M", strconv.Itoa(m.memory), "-o", img, "--root", root, "--cwd", dir, "-e", "GODEBUG=" + p.godebug,
		"-e", "PATH=/usr/bin:" + goroot + "/bin", "-e", "HOME=/root", "-e", "GOTOOLCHAIN=local"}
	for _, name := range tools {
		tool, err := exec.LookPath(name)
		if err != nil {
			return nil, fmt.Errorf("a tool that tests start: %w", err)
		}
		args = append(args, "--add", tool+":/usr/bin/"+name)
	}
	args = append(append(args, bin, "--"), testArgs(p, timeout)...)
	if out, err := exec.CommandContext(ctx, m.kiln, args...).CombinedOutput(); err != nil {
		return out, fmt.Errorf("kiln bake: %w\n%s", err, out)
	}
	return outcomes.Output(exec.CommandContext(ctx, m.kiln, "run", m.accel, img))
}

// copyTree copies a file, or a folder with all below it, without the scripts by
// which Go's sources are made: bake would add their interpreters.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) == ".pl" {
			return err
		}
		target := to + strings.TrimPrefix(path, from)
		switch {
		case e.IsDir():
			return os.MkdirAll(target, 0o755)
		case e.Type() == fs.ModeSymlink:
			link, err := os.Readlink(path)
			if err == nil {
				err = os.Symlink(link, target)
			}
			return ignoreExists(err)
		}
		return copyFile(path, target)
	})
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, b, info.Mode().Perm())
}

// ignoreExists drops the error of a link that an earlier, overlapping copy made.
func ignoreExists(err error) error {
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}
