package main

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"kiln/run"
)

// TestInterruptible: a signal ends the work, which is waited for.
func TestInterruptible(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM} {
		undone := false
		err := interruptible(func(ctx context.Context) error {
			if err := syscall.Kill(syscall.Getpid(), sig); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Minute):
				t.Errorf("%v has not ended the work", sig)
			}
			undone = true
			return context.Cause(ctx)
		})
		if e, ok := errors.AsType[*run.Error](err); !ok || e.Code != 128+int(sig) || !undone {
			t.Errorf("%v: %v, want status %d", sig, err, 128+int(sig))
		}
	}
}
