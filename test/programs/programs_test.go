// Package programs_test runs the test programs on Linux. What they check is
// what Linux does: a program that fails here is wrong itself, and says nothing
// about Kiln when it fails there.
package programs_test

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// special programs do not end with "NAME: ok" and status 0.
var special = map[string]struct {
	output string
	signal syscall.Signal
}{
	"hello":     {output: "hello, kiln\n"},
	"nullderef": {output: "nullderef: before\n", signal: syscall.SIGSEGV},
	"fsx":       {output: " bytes: ok\n"}, // behind its counts
	"entropy":   {output: "5000 bytes, random\n"},
	"forkcopy":  {output: "child 0, parent lives\n"},
}

// arguments are those of programs that want some; FILE stands for a file that
// they may make.
var arguments = map[string][]string{
	"fsx":      {"FILE", "3000"},
	"forkcopy": {"8"},
	"mapshare": {"FILE"},
}

// notHere are programs that this machine must be spared. What is in src/guest is
// for guests only: it takes all memory, or changes the whole machine.
var notHere = map[string]string{
	"fsops": "it mounts; test/e2e runs it in a namespace of its own",
}

func TestPrograms(t *testing.T) {
	sources, err := filepath.Glob("src/*.c*")
	if err != nil || len(sources) == 0 {
		t.Fatalf("no programs: %v", err)
	}
	for _, src := range sources {
		name := strings.TrimSuffix(filepath.Base(src), filepath.Ext(src))
		t.Run(name, func(t *testing.T) {
			if why := notHere[name]; why != "" {
				t.Skip(why)
			}
			compiler := "gcc"
			if filepath.Ext(src) == ".cc" {
				compiler = "g++"
			}
			bin := filepath.Join(t.TempDir(), name)
			out, err := exec.Command(compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", bin, src).CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %v\n%s", compiler, err, out)
			}
			argv := []string{bin}
			for _, a := range arguments[name] {
				argv = append(argv, strings.ReplaceAll(a, "FILE", filepath.Join(t.TempDir(), "file")))
			}
			run(t, name, argv...)
		})
	}
}

func TestScripts(t *testing.T) {
	for _, tt := range []struct{ interpreter, script string }{
		{"/usr/bin/python3", "src/everyday.py"},
		{"/usr/bin/perl", "src/everyday.pl"},
	} {
		t.Run(tt.script, func(t *testing.T) { run(t, "everyday", tt.interpreter, tt.script) })
	}
}

// run starts a program under a time limit and compares how it ended.
func run(t *testing.T, name string, argv ...string) {
	t.Helper()
	want, ok := special[name]
	if !ok {
		want.output = name + ": ok\n"
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.WaitDelay = 5 * time.Second // its children may have its output open
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("still running after a minute\n%s", out)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if want.signal != 0 {
		if !status.Signaled() || status.Signal() != want.signal {
			t.Errorf("ended with %v, want signal %v", cmd.ProcessState, want.signal)
		}
	} else if err != nil {
		t.Errorf("ended with %v, want status 0", err)
	}
	if !strings.HasSuffix(string(out), want.output) {
		t.Errorf("output ends with %q, want %q", out, want.output)
	}
}
