package instance

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// pollTime is how often is looked again for what has no event of its own.
const pollTime = 20 * time.Millisecond

// WaitDown waits until nobody looks after the instance, or it is removed.
func (i *Instance) WaitDown() error {
	_, err := i.waitDown(time.Time{}, func(*Instance) error { return nil })
	return err
}

// waitDown waits until nobody looks after the instance. It calls ask once the
// instance is up. If deadline is not zero, and passes, it returns the instance as
// it is.
func (i *Instance) waitDown(deadline time.Time, ask func(*Instance) error) (*Instance, error) {
	for asked := false; ; time.Sleep(pollTime) {
		now, err := i.Look()
		if err != nil || now == nil || !now.locked {
			return nil, err
		}
		if now.Up() && !asked {
			asked = true
			if err := ask(now); err != nil && !errors.Is(err, ErrGone) {
				return now, err
			}
		}
		if !deadline.IsZero() && time.Now().After(deadline) {
			return now, nil
		}
	}
}

// Stop asks the program to end, and waits until the instance has. timeout is
// from the request until the machine is killed; nil stands for the instance's
// own. It is no error if it has ended before. stopped reports whether it had not.
func (i *Instance) Stop(timeout *time.Duration) (stopped bool, err error) {
	r := Request{Action: ActionStop}
	if timeout != nil {
		ms := timeout.Milliseconds()
		r.Timeout = &ms
	}
	_, err = i.waitDown(time.Time{}, func(i *Instance) error {
		err := i.Ask(r)
		stopped = err == nil
		return err
	})
	return stopped, err
}

// killTime is how long a supervisor may take to record that its guest was
// killed.
const killTime = 10 * time.Second

// Kill ends the instance at once, and waits until it has ended. It is no error
// if it has before.
func (i *Instance) Kill() error {
	left, err := i.waitDown(time.Now().Add(killTime), func(i *Instance) error {
		return i.Ask(Request{Action: ActionSignal, Signal: "KILL"})
	})
	if left == nil {
		return err
	}
	// The supervisor records the end in order. One that does not is killed
	// itself, and QEMU with it.
	if err := syscall.Kill(left.State.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("%s: ending its supervisor, process %d: %w", i.Name, left.State.PID, err)
	}
	return i.WaitDown()
}
