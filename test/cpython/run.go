package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"kiln/test/outcomes"
)

// A python is this machine's Python.
type python struct {
	program string
	suite   string // the folder of its tests
}

// findPython returns Debian's Python 3, if its tests are there.
func findPython() (python, error) {
	program, err := filepath.EvalSymlinks("/usr/bin/python3")
	if err != nil {
		return python{}, fmt.Errorf("no Python: %w (install python3)", err)
	}
	version := filepath.Base(program)
	p := python{program, filepath.Join("/usr/lib", version, "test")}
	if _, err := os.Stat(filepath.Join(p.suite, "test_os.py")); err != nil {
		return p, fmt.Errorf("no tests of Python: %w (install lib%s-testsuite)", err, version)
	}
	return p, nil
}

// environment is what programs find on both sides.
var environment = []string{"PATH=/usr/bin:/bin", "HOME=/root", "LANG=C.UTF-8"}

// tools are this machine's commands that tests start. What it has not, tests find
// on neither side.
var tools = []string{"cat", "date", "echo", "env", "false", "grep", "hostname", "id", "ls", "mkdir", "mount", "ps", "pwd", "rm", "sh", "sleep",
	"stty", "tar", "touch", "tr", "true", "tty", "uname", "unzip", "whoami", "zip"}

// places are the folders in which the tests can make a folder of their own in a
// guest: on the tmpfs, on the root, or on an ext4 volume.
var places = map[string]string{"tmp": "/tmp", "root": "/", "volume": "/volume"}

// A machine says how to start guests.
type machine struct {
	python python
	kiln   string // the kiln command
	memory int    // MB
	accel  string // kvm, qemu or auto
}

// bake makes an image with Python, its tests, the tools and run.py, in dir.
func (m machine) bake(ctx context.Context, dir string) (string, error) {
	runner := filepath.Join(dir, "run.py")
	if err := os.WriteFile(runner, []byte(runnerText), 0o644); err != nil {
		return "", err
	}
	img := filepath.Join(dir, "python.img")
	args := []string{"bake", "-M", strconv.Itoa(m.memory), "-o", img, "--add", m.python.suite, "--add", runner + ":/run.py"}
	for _, variable := range environment {
		args = append(args, "-e", variable)
	}
	for _, name := range tools {
		if tool, err := exec.LookPath(name); err == nil {
			args = append(args, "--add", tool+":/usr/bin/"+name)
		}
	}
	if out, err := exec.CommandContext(ctx, m.kiln, append(args, m.python.program)...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("kiln bake: %w\n%s", err, out)
	}
	return img, nil
}

// onKiln runs mod in a guest, its files in a place.
func (m machine) onKiln(ctx context.Context, mod module, img, place string) ([]byte, error) {
	args := []string{"run", m.accel}
	if place == "volume" {
		disk := filepath.Join(filepath.Dir(img), "volume.img")
		if out, err := exec.CommandContext(ctx, "mke2fs", "-q", "-F", "-t", "ext4", disk, "2G").CombinedOutput(); err != nil {
			return nil, fmt.Errorf("mke2fs: %w\n%s", err, out)
		}
		defer os.Remove(disk)
		args = append(args, "-b", disk+",/volume")
	}
	args = append(append(args, img, "--", "/run.py"), mod.arguments(filepath.Join(places[place], "run-"+mod.name))...)
	return outcomes.Output(exec.CommandContext(ctx, m.kiln, args...))
}

// onLinux runs mod on one CPU of this machine, as the guest has one.
func (m machine) onLinux(ctx context.Context, mod module) ([]byte, error) {
	dir, err := os.MkdirTemp("", "kiln-cpython-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	args := append([]string{"--cpu-list", "0", m.python.program, "-c", runnerText}, mod.arguments(filepath.Join(dir, "run-"+mod.name))...)
	cmd := exec.CommandContext(ctx, "taskset", args...)
	cmd.Dir = "/"
	cmd.Env = environment
	return outcomes.Output(cmd)
}
