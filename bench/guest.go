package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// A guest is a running system.
type guest struct {
	cmd     *exec.Cmd
	started time.Time
	console console
	done    chan struct{} // closed when the command has ended
}

// start runs cmd in its own process group, so that stop reaches all of it.
func start(cmd *exec.Cmd) (*guest, error) {
	g := &guest{cmd: cmd, done: make(chan struct{})}
	g.console.changed = sync.NewCond(&g.console.mu)
	cmd.Stdout, cmd.Stderr = &g.console, &g.console
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return g.signal(syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	g.started = time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		// How it ended matters only to those who wait for output that
		// does not come: console.await reports it.
		err := cmd.Wait()
		g.console.end(err)
		close(g.done)
	}()
	return g, nil
}

func (g *guest) signal(s syscall.Signal) error {
	err := syscall.Kill(-g.cmd.Process.Pid, s)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// stop ends the guest: politely first, because kiln has to end its QEMU.
func (g *guest) stop() error {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if err := g.signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		select {
		case <-g.done:
			return nil
		case <-time.After(5 * time.Second):
		}
	}
	return fmt.Errorf("%s does not end", g.cmd.Path)
}

// A console collects a guest's output and when it came.
type console struct {
	mu      sync.Mutex
	changed *sync.Cond // guarded by mu, like all below
	text    bytes.Buffer
	last    time.Time // of the last write
	ended   bool
	err     error // how the command ended
}

// Write implements io.Writer.
func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = time.Now()
	c.changed.Broadcast()
	return c.text.Write(p)
}

func (c *console) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended, c.err = true, err
	c.changed.Broadcast()
}

// await returns when the output contains want, and the time of that.
func (c *console) await(want string) (time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !bytes.Contains(c.text.Bytes(), []byte(want)) {
		if c.ended {
			return time.Time{}, fmt.Errorf("ended (%v) without printing %q:\n%s", c.err, want, tail(c.text.Bytes()))
		}
		c.changed.Wait()
	}
	return c.last, nil
}

func tail(b []byte) []byte { return b[max(0, len(b)-1000):] }

// runUntil starts p on s, waits for want within limit, stops it, and returns
// how long it took from the start and what was printed.
func runUntil(s system, p program, mb int, want string, limit time.Duration) (time.Duration, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	g, err := start(s.command(ctx, p, mb))
	if err != nil {
		return 0, "", err
	}
	at, err := g.console.await(want)
	if stopErr := g.stop(); err == nil {
		err = stopErr
	}
	return at.Sub(g.started), g.console.text.String(), err
}

// tail returns the end of what was printed so far.
func (c *console) tail() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(tail(c.text.Bytes()))
}
