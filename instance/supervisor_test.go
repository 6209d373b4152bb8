package instance

import (
	"errors"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
)

func ignoreSizeSignal(t *testing.T) {
	signal.Ignore(syscall.SIGXFSZ)
	t.Cleanup(func() { signal.Reset(syscall.SIGXFSZ) })
}

// supervise returns a supervisor of a new instance with policy. Its guests end
// with codes, one after the other, the last again and again; a guest whose code is
// negative runs until it is asked to end.
func supervise(t *testing.T, policy string, codes ...int) (s *Supervisor, guests *int) {
	t.Helper()
	p, err := ParsePolicy(policy)
	if err != nil {
		t.Fatal(err)
	}
	h := create(t, newStore(t), Config{Name: "x", Restart: p})
	if err := h.Supervise(); err != nil {
		t.Fatal(err)
	}
	s = NewSupervisor(h)
	s.Tell = func(err error) { t.Error(err) }
	n := 0
	s.Guest = func(requests <-chan Request) (int, error) {
		code := codes[min(n, len(codes)-1)]
		n++
		if err := s.SetRunning(0, nil); err != nil {
			return 0, err
		}
		s.Lives()
		if code < 0 {
			<-requests
			code = 143
		}
		return code, nil
	}
	return s, &n
}

func TestSupervisorPolicies(t *testing.T) {
	for _, tt := range []struct {
		policy       string
		codes        []int
		guests, code int
	}{
		{"no", []int{5}, 1, 5},
		{"on-failure", []int{5, 6, 0}, 3, 0},
		{"on-failure:2", []int{5}, 3, 5},
	} {
		s, guests := supervise(t, tt.policy, tt.codes...)
		code, err := s.Run()
		if code != tt.code || err != nil || *guests != tt.guests {
			t.Errorf("%s: status %d, %v after %d guests, want %d after %d", tt.policy, code, err, *guests, tt.code, tt.guests)
		}
		if s.State.Status != Exited || s.State.ExitCode != tt.code || s.State.Runs != tt.guests {
			t.Errorf("%s: the state is %+v", tt.policy, s.State)
		}
	}
}

func TestSupervisorRequests(t *testing.T) {
	s, guests := supervise(t, "always", -1)
	server, err := s.Serve(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	ended := make(chan int, 1)
	go func() {
		code, _ := s.Run()
		ended <- code
	}()
	i, err := s.store.Find("x")
	if err != nil {
		t.Fatal(err)
	}
	wait := func(runs int) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			now, err := i.Look()
			if err != nil || time.Now().After(deadline) {
				t.Fatalf("no guest %d: %v", runs, err)
			}
			if now.State.Runs == runs && now.State.Status == Running {
				return
			}
		}
	}
	wait(1)
	if err := i.Ask(Request{Action: ActionRestart}); err != nil {
		t.Fatal(err)
	}
	wait(2)
	if err := i.Ask(Request{Action: ActionSignal, Signal: "HUP"}); err != nil { // the guest ends by it; the policy starts another
		t.Fatal(err)
	}
	wait(3)
	if _, err := i.AskInput(); !errors.Is(err, ErrNoInput) {
		t.Errorf("AskInput: %v, want ErrNoInput", err)
	}
	if err := i.Ask(Request{Action: "dance"}); err == nil || !strings.Contains(err.Error(), "dance") {
		t.Errorf("Ask(dance): %v", err)
	}
	if err := i.Ask(Request{Action: ActionStop}); err != nil {
		t.Fatal(err)
	}
	if code := <-ended; code != 143 || *guests != 3 {
		t.Errorf("status %d after %d guests", code, *guests)
	}
}

// TestSupervisorRest stops an instance that waits for its next start.
func TestSupervisorRest(t *testing.T) {
	s, guests := supervise(t, "always", 1)
	ended := make(chan int, 1)
	go func() {
		code, _ := s.Run()
		ended <- code
	}()
	time.Sleep(500 * time.Millisecond)
	if err := s.Do(Request{Action: ActionStop}); err != nil {
		t.Fatal(err)
	}
	select {
	case code := <-ended:
		if code != 1 {
			t.Errorf("status %d, want 1", code)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it goes on")
	}
	if *guests < 2 || *guests > 5 { // 100, 200, 400 ms
		t.Errorf("%d guests in half a second", *guests)
	}
}
