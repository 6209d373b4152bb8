package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"kiln/run"
)

// interruptible has do work with a context that a signal ends: HUP, INT or
// TERM. do then undoes what it has begun, and the signal is the error. A second
// one ends the command at once.
func interruptible(do func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	go func() {
		select {
		case sig := <-signals:
			signal.Stop(signals)
			cancel(&run.Error{Code: 128 + int(sig.(syscall.Signal)), Msg: "ended by signal: " + sig.String()})
		case <-ctx.Done():
		}
	}()
	return do(ctx)
}
