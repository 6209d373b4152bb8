package instance

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// look again this often for what has no event of its own.
const pollTime = 20 * time.Millisecond

// WaitDown waits until the instance has no supervisor, or is removed.
func (i *Instance) WaitDown() error {
	for {
		now, err := i.Look()
		if err != nil {
			return err
		}
		if now == nil || !now.Up() {
			return nil
		}
		time.Sleep(pollTime)
	}
}

// Kill ends the instance at once, and waits until it has ended. It is no error
// if it has before.
func (i *Instance) Kill() error {
	now, err := i.Look()
	if err != nil || now == nil || !now.Up() {
		return err
	}
	err = i.Ask(Request{Action: ActionSignal, Signal: "KILL"})
	if errors.Is(err, ErrGone) {
		return nil
	}
	// The supervisor records the end in order; one that does not in time is
	// killed itself, and QEMU with it.
	for deadline := time.Now().Add(killTime); err == nil; {
		if now, err = i.Look(); err != nil || now == nil || !now.Up() {
			return err
		}
		if time.Now().After(deadline) {
			break
		}
		time.Sleep(pollTime)
	}
	if err := syscall.Kill(now.State.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("%s: ending its supervisor, process %d: %w", i.Name, now.State.PID, err)
	}
	return i.WaitDown()
}

// killTime is how long a supervisor may take to record that its guest was
// killed.
const killTime = 10 * time.Second
