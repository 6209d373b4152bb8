package cc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"kiln/image/buildnote"
)

// Stdio are the streams of a call.
type Stdio struct {
	In       io.Reader
	Out, Err io.Writer
}

// Run carries inv out in the environment env, and returns the exit status of
// the tool. An error means that there was none.
func (inv *Invocation) Run(env []string, std Stdio) (int, error) {
	if inv.Print != "" {
		_, err := fmt.Fprintln(std.Out, inv.Print)
		return 0, err
	}
	env = withDefaults(env, inv.Env)
	if len(inv.Links) == 0 {
		return run(inv.Path, inv.Args, env, std)
	}
	var source []byte // each way of linking compiles it
	if inv.Stdin && std.In != nil {
		var err error
		if source, err = io.ReadAll(std.In); err != nil {
			return 0, fmt.Errorf("standard input: %w", err)
		}
	}
	compiler, libc := describe(inv.Path, filepath.Base(inv.Path) == "musl-gcc")
	build := buildnote.Build{Tuple: inv.tuple, Compiler: compiler, Libc: libc, Flags: strings.Join(inv.flags, " ")}
	for _, l := range inv.Links {
		build.Link = l.Kind
		if inv.Stdin && std.In != nil {
			std.In = bytes.NewReader(source)
		}
		code, done, err := inv.link(l, &build, env, std)
		if done || err != nil {
			return code, err
		}
	}
	return 0, errors.New("no way to link") // the last one is never only tried
}

// link links in one way. It is not done if another way should be taken.
func (inv *Invocation) link(l Link, build *buildnote.Build, env []string, std Stdio) (code int, done bool, err error) {
	note, err := memoryFile("note", noteObject(build))
	if err != nil {
		return 0, true, err
	}
	defer note.Close()
	// The language of the arguments before does not hold for the note.
	args := append(append(append([]string(nil), inv.Args...), l.Args...), "-x", "none", memoryPath(note))
	path := inv.Path
	if l.Specs != "" {
		specs, err := memoryFile("specs", []byte(l.Specs))
		if err != nil {
			return 0, true, err
		}
		defer specs.Close()
		// The musl-gcc script would have the last word; so do what it does.
		if path, err = exec.LookPath("gcc"); err != nil {
			return 0, true, &MissingError{"gcc", "gcc"}
		}
		args = append(args, "-specs="+muslDir+"/musl-gcc.specs", "-specs="+memoryPath(specs))
	}
	if !l.Try {
		code, err := run(path, args, env, std)
		return code, true, err
	}
	var messages bytes.Buffer
	tried := std
	tried.Err = &messages
	code, err = run(path, args, env, tried)
	if err != nil || !again(code != 0, messages.Bytes()) {
		if _, werr := std.Err.Write(messages.Bytes()); err == nil {
			err = werr
		}
		return code, true, err
	}
	return 0, false, nil
}

// memoryFile returns a file without a name, which processes that we start
// inherit: there is nothing to remove when we are killed.
func memoryFile(name string, content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("kiln-"+name, 0)
	if err != nil {
		return nil, fmt.Errorf("a file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.Write(content); err != nil {
		f.Close()
		return nil, fmt.Errorf("a file in memory: %w", err)
	}
	return f, nil
}

// memoryPath is what processes that we start know the file by.
func memoryPath(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

// withDefaults returns env with those variables of more that it lacks.
func withDefaults(env, more []string) []string {
	out := append([]string(nil), env...)
	for _, m := range more {
		name, _, _ := strings.Cut(m, "=")
		has := false
		for _, e := range env {
			has = has || strings.HasPrefix(e, name+"=")
		}
		if !has {
			out = append(out, m)
		}
	}
	return out
}

// run starts a program and returns its exit status.
func run(path string, args, env []string, std Stdio) (int, error) {
	cmd := exec.Command(path, args...)
	cmd.Env = env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = std.In, std.Out, std.Err
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() >= 0 {
		return exit.ExitCode(), nil
	}
	return 0, err
}
