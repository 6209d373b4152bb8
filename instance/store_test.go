package instance

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// newStore returns a store of the test's own.
func newStore(t *testing.T) *Store {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"XDG_STATE_HOME": dir, "XDG_RUNTIME_DIR": filepath.Join(dir, "run")}
	s, err := Open(func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func create(t *testing.T, s *Store, c Config) *Held {
	t.Helper()
	h, err := s.Create(c)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// start makes h an instance that runs, with a process of the test's as QEMU.
func start(t *testing.T, h *Held) *exec.Cmd {
	t.Helper()
	qemu := exec.Command("sleep", "1000")
	if err := qemu.Start(); err != nil {
		t.Fatal(err)
	}
	go qemu.Wait()
	t.Cleanup(func() { qemu.Process.Kill() })
	if err := h.Supervise(); err != nil {
		t.Fatal(err)
	}
	if err := h.SetRunning(qemu.Process.Pid, nil); err != nil {
		t.Fatal(err)
	}
	return qemu
}

func list(t *testing.T, s *Store) []*Instance {
	t.Helper()
	all, err := s.List()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestLife(t *testing.T) {
	s := newStore(t)
	h := create(t, s, Config{Name: "web"})
	if all := list(t, s); len(all) != 0 {
		t.Errorf("an instance in the making is listed: %+v", all[0])
	}
	start(t, h)
	i, err := s.Find("web")
	if err != nil {
		t.Fatal(err)
	}
	if !i.Up() || i.State.PID != os.Getpid() || filepath.Dir(i.ControlSocket()) != i.RuntimeFolder() {
		t.Errorf("a running instance is %+v", i.State)
	}
	if _, err := i.Hold(); !errors.Is(err, ErrUp) {
		t.Errorf("holding a running instance: %v, want ErrUp", err)
	}
	runtime := i.RuntimeFolder()
	if err := errors.Join(h.SetEnded(3, "", false), h.Leave()); err != nil {
		t.Fatal(err)
	}
	if i, err = s.Find("web"); err != nil {
		t.Fatal(err)
	}
	if i.Up() || i.State.ExitCode != 3 || isDir(runtime) {
		t.Errorf("an ended instance is %+v; its runtime folder is there: %v", i.State, isDir(runtime))
	}
	if h, err = i.Hold(); err != nil {
		t.Fatal(err)
	}
	if err := h.RemoveHeld(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Find("web"); err == nil || len(list(t, s)) != 0 {
		t.Error("a removed instance is still there")
	}
}

// TestKilled lets go of locks as the end of a process does, at each stage.
func TestKilled(t *testing.T) {
	for _, tt := range []struct {
		name   string
		config Config
		until  func(t *testing.T, h *Held)
		code   int // -1: no instance is left
	}{
		{"created", Config{}, func(*testing.T, *Held) {}, -1},
		{"running", Config{}, func(t *testing.T, h *Held) { start(t, h) }, killedStatus},
		{"running, to be removed", Config{Remove: true}, func(t *testing.T, h *Held) { start(t, h) }, -1},
		{"restarting", Config{}, func(t *testing.T, h *Held) {
			start(t, h)
			if err := h.SetEnded(5, "", true); err != nil {
				t.Fatal(err)
			}
		}, 5},
		{"ended", Config{}, func(t *testing.T, h *Held) {
			start(t, h)
			if err := h.SetEnded(6, "", false); err != nil {
				t.Fatal(err)
			}
		}, 6},
		{"removing", Config{}, func(t *testing.T, h *Held) {
			if err := os.Remove(filepath.Join(h.folder, configFile)); err != nil {
				t.Fatal(err)
			}
		}, -1},
		{"removing, later", Config{}, func(t *testing.T, h *Held) {
			for _, name := range []string{configFile, lockFile} {
				if err := os.Remove(filepath.Join(h.folder, name)); err != nil {
					t.Fatal(err)
				}
			}
		}, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newStore(t)
			h := create(t, s, tt.config)
			tt.until(t, h)
			guest, runtime := h.State.Guest, h.State.Runtime
			if err := h.Release(); err != nil {
				t.Fatal(err)
			}
			all := list(t, s)
			if tt.code < 0 {
				if len(all) != 0 || isDir(h.folder) {
					t.Errorf("%d instances are left; folder: %v", len(all), isDir(h.folder))
				}
			} else if len(all) != 1 || all[0].Up() || all[0].State.ExitCode != tt.code {
				t.Errorf("left: %+v, want exit status %d", all, tt.code)
			}
			if guest.Alive() {
				t.Error("QEMU still runs")
			}
			if runtime != "" && isDir(runtime) {
				t.Error("the runtime folder is left")
			}
		})
	}
}

// TestInherit has a child hold the lock.
func TestInherit(t *testing.T) {
	s := newStore(t)
	h := create(t, s, Config{Name: "child"})
	start(t, h)
	child := exec.Command("sleep", "1000")
	child.ExtraFiles = []*os.File{h.LockFile()}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if err := h.Release(); err != nil {
		t.Fatal(err)
	}
	if i, err := s.Find("child"); err != nil || !i.Up() {
		t.Errorf("while the child lives: %v, %v", i, err)
	}
	child.Process.Signal(syscall.SIGKILL)
	child.Wait()
	if i, err := s.Find("child"); err != nil || i.Up() || i.State.Error == "" {
		t.Errorf("once the child is dead: %v, %v", i, err)
	}
}

func TestOneNameWins(t *testing.T) {
	s := newStore(t)
	const tries = 20
	errs := make([]error, tries)
	var wg sync.WaitGroup
	for n := range tries {
		wg.Go(func() {
			_, errs[n] = s.Create(Config{Name: "one"})
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if !strings.Contains(err.Error(), `the name "one" is in use by instance`) {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d have made the instance, want 1", won, tries)
	}
}

// TestProbeDisturbsNobody takes a lock again and again that others ask about.
func TestProbeDisturbsNobody(t *testing.T) {
	s := newStore(t)
	h := create(t, s, Config{Name: "x"})
	start(t, h)
	if err := errors.Join(h.SetEnded(0, "", false), h.Leave()); err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(300 * time.Millisecond)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for time.Now().Before(end) {
				if _, err := s.Find("x"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for time.Now().Before(end) {
		i, err := s.Find("x")
		if err != nil {
			t.Fatal(err)
		}
		h, err := i.Hold()
		if err != nil {
			t.Fatalf("holding what does not run: %v", err)
		}
		if err := h.Release(); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
}

func TestMatch(t *testing.T) {
	up := State{Status: Running, PID: 4711, Guest: Process{PID: 4712}}
	all := []*Instance{
		{Config: Config{ID: "aa11bb22cc33", Name: "web"}, State: up},
		{Config: Config{ID: "aa22bb22cc33", Name: "aa11"}},
		{Config: Config{ID: "4711bb22cc33", Name: "db"}, State: State{Status: Exited, PID: 77}},
	}
	for _, tt := range []struct{ name, want, err string }{
		{"web", "web", ""},
		{"aa11bb22cc33", "web", ""},
		{"aa11", "aa11", ""}, // a name comes before the beginning of an identifier
		{"aa2", "aa11", ""},
		{"aa", "", "several"},
		{"4711", "db", ""}, // and that before a process
		{"4712", "web", ""},
		{"77", "", "no such instance: 77"},
		{"we", "", "no such instance: we"},
		{"", "", "no such instance: "},
	} {
		i, err := match(all, tt.name)
		switch {
		case tt.err == "" && (err != nil || i.Name != tt.want):
			t.Errorf("match(%q) = %v, %v, want %s", tt.name, i, err, tt.want)
		case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
			t.Errorf("match(%q) = %v, want an error with %q", tt.name, err, tt.err)
		}
	}
}

func TestRename(t *testing.T) {
	s := newStore(t)
	a := create(t, s, Config{Name: "first"})
	create(t, s, Config{Name: "second"})
	for _, tt := range []struct{ to, err string }{
		{"second", "in use"}, {"first", "in use"}, {"-x", "no name"}, {"a/b", "no name"}, {"", "no name"}, {"third", ""},
	} {
		err := a.Rename(tt.to)
		if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("Rename(%q) = %v, want %q", tt.to, err, tt.err)
		}
	}
	start(t, a)
	if i, err := s.Find("third"); err != nil || i.ID != a.ID {
		t.Errorf("Find(third) = %v, %v", i, err)
	}
	// What the supervisor says of it later has the new name.
	if err := a.SetEnded(0, "", false); err != nil {
		t.Fatal(err)
	}
	var last Event
	if err := s.Events(func(e Event) error { last = e; return nil }, func() bool { return false }); err != nil {
		t.Fatal(err)
	}
	if last.Action != EventDie || last.Name != "third" || last.Attributes["exitCode"] != "0" {
		t.Errorf("the last event is %+v", last)
	}
}

func TestForeignRecords(t *testing.T) {
	s := newStore(t)
	h := create(t, s, Config{Name: "good"})
	start(t, h)
	bad := filepath.Join(s.instances(), "0123456789ab")
	if err := os.Mkdir(bad, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{lockFile, configFile, stateFile} {
		if err := os.WriteFile(filepath.Join(bad, name), []byte("no JSON"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all, err := s.List()
	if len(all) != 1 || err == nil || !strings.Contains(err.Error(), configFile) {
		t.Errorf("List = %d instances, %v; want 1, and an error that names %s", len(all), err, configFile)
	}
	if _, err := s.Find("good"); err != nil {
		t.Error(err)
	}
}
