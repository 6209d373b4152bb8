package packages

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// defaultTimeout is how long a check may take until the guest is ready, and
// again for its script: many times what it takes on a busy machine.
const defaultTimeout = 2 * time.Minute

// Check carries out the checks of a package that was built.
func (b *Builder) Check(r *Recipe) error {
	if !b.IsBuilt(r) {
		return &Error{fmt.Sprintf("%s is not built", r.Name), "kiln package build " + r.Name}
	}
	if err := b.requireInstalled(r.Name, r.checkNeeds(), b.InstallDeps); err != nil {
		return err
	}
	for _, c := range r.Check {
		began := time.Now()
		if err := b.check(r, c); err != nil {
			return fmt.Errorf("%s: check %q: %w", r.Name, c.Name, err)
		}
		b.say("%s: %s: ok (%v)", r.Name, c.Name, time.Since(began).Round(100*time.Millisecond))
	}
	return nil
}

// check carries out one check in a folder of its own.
func (b *Builder) check(r *Recipe, c Check) error {
	dir, err := os.MkdirTemp("", "kiln-check-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	timeout := time.Duration(c.Timeout)
	if timeout == 0 {
		timeout = defaultTimeout
	}
	if err := copyTree(r.files, filepath.Join(dir, "recipe")); err != nil {
		return err
	}
	talkFile := filepath.Join(dir, "talk.py")
	if err := os.WriteFile(talkFile, talk, 0o644); err != nil {
		return err
	}
	env := append(b.buildEnv(nil), "TALK="+talkFile, "LC_ALL=C.UTF-8", "KILN="+b.Kiln, "IMAGE="+ImagePath(b.Data, r.Name), "RECIPE="+filepath.Join(dir, "recipe"))
	if c.Ready == "" {
		return b.shell(c.Script, dir, env, timeout)
	}
	ports, portEnv, err := publish(r.Image.Ports)
	if err != nil {
		return err
	}
	env = append(env, portEnv...)
	g, err := b.startGuest(r, c, dir, ports)
	if err != nil {
		return err
	}
	err = b.waitReady(g, c.Ready, dir, env, timeout)
	if err == nil {
		err = b.shell(c.Script, dir, env, timeout)
	}
	err = errors.Join(err, g.stop())
	if err != nil {
		for _, line := range g.console() {
			b.say("%s: console | %s", r.Name, line)
		}
	}
	return err
}

// publish chooses free ports of the host for the guest's: flags for kiln run,
// and the variables PORT, for the first, and PORT_GUEST for each.
func publish(ports []string) (flags, env []string, err error) {
	for i, p := range ports {
		guest, err := guestPort(p)
		if err != nil {
			return nil, nil, err
		}
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, nil, err
		}
		host := fmt.Sprint(l.Addr().(*net.TCPAddr).Port)
		defer l.Close() // all stay taken until each has its own
		flags = append(flags, "-p", host+":"+guest)
		env = append(env, "PORT_"+guest+"="+host)
		if i == 0 {
			env = append(env, "PORT="+host)
		}
	}
	return flags, env, nil
}

// A guest is a kiln run that serves.
type guest struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed once it has ended
}

// startGuest starts the package's image.
func (b *Builder) startGuest(r *Recipe, c Check, dir string, flags []string) (*guest, error) {
	args := append([]string{"run"}, flags...)
	if c.Memory != 0 {
		args = append(args, "-M", fmt.Sprint(c.Memory))
	}
	args = append(args, ImagePath(b.Data, r.Name))
	if c.Arguments != nil {
		args = append(append(args, "--"), c.Arguments...)
	}
	g := &guest{cmd: exec.Command(b.Kiln, args...), log: filepath.Join(dir, "console"), done: make(chan struct{})}
	log, err := os.Create(g.log)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the process has its own
	g.cmd.Env = b.Env
	g.cmd.Stdout, g.cmd.Stderr = log, log
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := g.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		g.cmd.Wait() // how it ended: g.cmd.ProcessState
		close(g.done)
	}()
	return g, nil
}

// stopTime is how long a guest may take to end when asked.
const stopTime = 30 * time.Second

// stop ends the guest, and says if it was in no state to.
func (g *guest) stop() error {
	select {
	case <-g.done:
		return fmt.Errorf("the guest ended by itself: %v", g.cmd.ProcessState)
	default:
	}
	if err := g.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-g.done:
	case <-time.After(stopTime):
		err := syscall.Kill(-g.cmd.Process.Pid, syscall.SIGKILL)
		<-g.done
		return errors.Join(fmt.Errorf("the guest did not end within %v of being asked", stopTime), err)
	}
	// 254: the kernel crashed. Others are the program's business.
	if g.cmd.ProcessState.ExitCode() == 254 {
		return errors.New("the guest's kernel crashed")
	}
	return nil
}

// console returns the last lines that the guest printed.
func (g *guest) console() []string {
	text, err := os.ReadFile(g.log)
	if err != nil {
		return []string{err.Error()}
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[max(0, len(lines)-20):]
}

// waitReady repeats a command until it succeeds. An attempt that was made too
// early may hang, as its packets came before the guest could answer; so the
// first ones get little time, and later ones more.
func (b *Builder) waitReady(g *guest, command, dir string, env []string, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	for limit := time.Second; ; limit = min(limit+time.Second/2, 10*time.Second) {
		err := b.shell(command, dir, env, limit)
		if err == nil {
			return nil
		}
		if b.context().Err() != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not ready within %v: %w", timeout, err)
		}
		select {
		case <-g.done:
			return nil // stop says so
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// shell runs a script, and has its output in the error.
func (b *Builder) shell(script, dir string, env []string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(b.context(), timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-euc", script)
	cmd.Dir, cmd.Env = dir, env
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	group(cmd)
	err := cmd.Run()
	if b.context().Err() != nil {
		return errors.New("interrupted")
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("still running after %v", timeout)
	}
	if err != nil {
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		return fmt.Errorf("%w: %s", err, strings.Join(lines[max(0, len(lines)-8):], " | "))
	}
	return nil
}
