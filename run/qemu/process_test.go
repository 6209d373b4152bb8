package qemu

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fakeQEMU puts a shell script in QEMU's place.
func fakeQEMU(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, Binary), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/bin:/usr/bin")
}

func machine() Machine { return Machine{Type: Microvm, Accel: TCG, Memory: 64, Image: "img"} }

func start(t *testing.T, module *os.File) *Process {
	t.Helper()
	p, err := Start(machine(), module, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// TestStart checks that console, channel, module, standard error and
// exit status get where they should.
func TestStart(t *testing.T) {
	fakeQEMU(t, `read line; echo "console $line"; read order <&3; echo "control $order" >&3; cat <&4; echo complaint >&2; exit 5`)
	module, err := os.Create(filepath.Join(t.TempDir(), "module"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := module.WriteString("module text"); err != nil {
		t.Fatal(err)
	}
	if _, err := module.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	p := start(t, module)
	for _, w := range []io.Writer{p.Input, p.Channel} {
		if _, err := io.WriteString(w, "hi\n"); err != nil {
			t.Fatal(err)
		}
	}
	console, err := io.ReadAll(p.Console)
	if err != nil {
		t.Fatal(err)
	}
	control, err := io.ReadAll(p.Channel)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(console), "console hi\nmodule text"; got != want {
		t.Errorf("console = %q, want %q", got, want)
	}
	if got, want := string(control), "control hi\n"; got != want {
		t.Errorf("control = %q, want %q", got, want)
	}
	if got, want := p.Status(), (Status{Code: 5, Stderr: "complaint\n"}); got != want {
		t.Errorf("Status() = %+v, want %+v", got, want)
	}
}

func TestKill(t *testing.T) {
	fakeQEMU(t, "exec sleep 60")
	p := start(t, nil)
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("still running 10 s after Kill")
	}
	if got := p.Status(); got.Code != -1 || got.Signal != "killed" {
		t.Errorf("Status() = %+v, want signal killed", got)
	}
	if err := p.Kill(); err != nil {
		t.Errorf("Kill of an ended process: %v", err)
	}
}

func TestMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := Start(machine(), nil, func(string) {}); !errors.Is(err, ErrMissing) {
		t.Errorf("Start = %v, want ErrMissing", err)
	}
}

func TestTrace(t *testing.T) {
	fakeQEMU(t, "exit 0")
	var line string
	p, err := Start(machine(), nil, func(s string) { line = s })
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if !strings.HasPrefix(line, Binary+" -M microvm,") || !strings.Contains(line, "-kernel img") {
		t.Errorf("traced %q", line)
	}
}
