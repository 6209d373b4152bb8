package sentry

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/pipefs"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/pkg/sentry/vfs"

	"kiln/image"
	"kiln/image/account"
	"kiln/image/channel"
	"kiln/kernel/notice"
	"kiln/kernel/uplink"
)

// An execution is a program that a session runs beside process 1. It is no child
// of anybody's, as of a container engine's exec.
//
// Without a terminal, its descriptors are pipes, as docker's: what it leaves
// behind when it ends gets EPIPE. Goroutines copy between them and the session.
type execution struct {
	ctx     context.Context // of the kernel
	session *uplink.Session
	group   *kernel.ThreadGroup
	stop    chan struct{} // closed when the copying is to end

	terminal *terminal               // nil: it has none
	input    *vfs.FileDescription    // what the session's input is written to, or nil
	outputs  [3]*vfs.FileDescription // 1, 2: what is read for the session; nil: nothing is
	pumps    sync.WaitGroup
}

// exec runs a program for a session. It returns its exit status.
func (s *Sentry) exec(session *uplink.Session, e channel.Exec) (int, error) {
	x := &execution{ctx: s.kernel.SupervisorContext(), session: session, stop: make(chan struct{})}
	if err := s.begin(x, e); err != nil {
		return 0, err
	}
	if e.Detach {
		return 0, nil
	}
	ended := make(chan struct{})
	go func() {
		x.group.WaitExited()
		close(ended)
	}()
	x.pump()
	for {
		select {
		case r := <-session.Requests():
			x.carryOut(s.kernel, r)
		case <-session.Gone():
			// The program is left alone: it reads the end of its input, its
			// output fails, and its terminal hangs up.
			x.finish()
			return 0, nil
		case <-ended:
			x.finish()
			return describeExit(x.group.ExitStatus(), nil).Code, nil
		}
	}
}

// begin starts the program.
func (s *Sentry) begin(x *execution, e channel.Exec) error {
	p, err := s.processOf(e)
	if err != nil {
		return err
	}
	size := 0
	for _, text := range append(p.Args, p.env...) {
		size += len(text)
	}
	done, err := s.memory.Admit(size)
	if err != nil {
		return fmt.Errorf("%s cannot be started: %w", p.Args[0], err)
	}
	defer done()
	tg, table, err := s.createProcess(p)
	if err != nil {
		return &refusal{channel.ExitNoPermit, err}
	}
	x.group = tg
	ctx := tg.Leader().AsyncContext()
	defer table.DecRef(ctx)
	files, err := x.files(s, ctx, p.creds, e)
	if err == nil {
		err = setFiles(ctx, table, files)
	}
	if err != nil {
		// A process that was made can only be run to its end.
		x.release()
		err = errors.Join(err, x.signal(s.kernel, linux.SIGKILL))
		s.kernel.StartProcess(tg)
		return err
	}
	s.kernel.StartProcess(tg)
	return nil
}

// processOf works out which program is to run, as whom and where.
func (s *Sentry) processOf(e channel.Exec) (process, error) {
	p := process{
		Program: Program{Args: e.Args},
		creds:   s.creds, cwd: s.config.Cwd,
	}
	env := s.config.Env
	if e.Terminal {
		env = withVariables(env, []string{"TERM=xterm"})
	}
	if e.User != "" {
		u, home, err := s.findUser(e.User)
		if err != nil {
			return p, err
		}
		p.creds = initCredentials(s.creds.UserNamespace, s.config.Processes != 0, &u)
		if home != "" {
			env = withVariables(env, []string{"HOME=" + home})
		}
	}
	p.env = environment(withVariables(env, e.Env), false)
	if e.Cwd != "" {
		p.cwd = path.Join("/", p.cwd, e.Cwd)
		if path.IsAbs(e.Cwd) {
			p.cwd = e.Cwd
		}
	}
	if err := s.checkFolder(p.creds, p.cwd); err != nil {
		return p, cannotRun(fmt.Errorf("working directory %s: %w", p.cwd, err))
	}
	var err error
	if p.Path, err = s.findProgram(p); err != nil {
		return p, cannotRun(fmt.Errorf("%s: %w", e.Args[0], err))
	}
	return p, nil
}

// withVariables returns env with the variables of set in place of those of the
// same names.
func withVariables(env, set []string) []string {
	var out []string
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		if !hasVariable(set, name) {
			out = append(out, e)
		}
	}
	return append(out, set...)
}

// findUser returns who USER[:GROUP] is in the guest, and the home directory.
func (s *Sentry) findUser(text string) (u image.User, home string, err error) {
	passwd, err := s.mounts.readFile("/etc/passwd")
	if err != nil {
		return u, "", err
	}
	group, err := s.mounts.readFile("/etc/group")
	if err != nil {
		return u, "", err
	}
	return account.Files{Passwd: string(passwd), Group: string(group)}.Find(text)
}

// checkFolder looks whether there is a folder.
func (s *Sentry) checkFolder(creds *auth.Credentials, dir string) error {
	stat, err := s.mounts.vfs.StatAt(s.mounts.ctx, creds, s.mounts.at(path.Join("/", dir)), &vfs.StatOptions{Mask: linux.STATX_TYPE})
	if err == nil && stat.Mode&linux.S_IFMT != linux.S_IFDIR {
		err = linuxerr.ENOTDIR
	}
	return err
}

// findProgram returns the path of a program: its first argument, which is looked
// for in PATH unless it has a slash.
func (s *Sentry) findProgram(p process) (string, error) {
	name := p.Args[0]
	if strings.Contains(name, "/") {
		if !path.IsAbs(name) {
			name = path.Join("/", p.cwd, name)
		}
		return name, s.canExecute(p.creds, name)
	}
	var denied error
	for _, e := range p.env {
		dirs, ok := strings.CutPrefix(e, "PATH=")
		if !ok {
			continue
		}
		for _, dir := range strings.Split(dirs, ":") {
			if name == "" || !path.IsAbs(dir) {
				continue // nobody looks where the host's user cannot see
			}
			err := s.canExecute(p.creds, path.Join(dir, name))
			if err == nil {
				return path.Join(dir, name), nil
			}
			if linuxerr.Equals(linuxerr.EACCES, err) {
				denied = err
			}
		}
	}
	if denied != nil {
		return "", denied
	}
	return "", fmt.Errorf("no such program in PATH: %w", linuxerr.ENOENT)
}

// canExecute returns why a file cannot be executed, nil if it can.
func (s *Sentry) canExecute(creds *auth.Credentials, file string) error {
	fd, err := s.mounts.vfs.OpenAt(s.mounts.ctx, creds, s.mounts.at(file), &vfs.OpenOptions{Flags: linux.O_RDONLY, FileExec: true})
	if err == nil {
		fd.DecRef(s.mounts.ctx)
	}
	return err
}

// files makes descriptors 0 to 2. ctx is a context of the process.
func (x *execution) files(s *Sentry, ctx context.Context, creds *auth.Credentials, e channel.Exec) (files [3]*vfs.FileDescription, err error) {
	if e.Terminal && !e.Detach {
		return x.terminalFiles(s, ctx, creds, e)
	}
	defer func() {
		if err != nil {
			release(x.ctx, files[:]...)
			files = [3]*vfs.FileDescription{}
		}
	}()
	null := func(flags uint32) (*vfs.FileDescription, error) {
		return s.mounts.vfs.OpenAt(s.mounts.ctx, s.mounts.creds, s.mounts.at("/dev/null"), &vfs.OpenOptions{Flags: flags})
	}
	if e.Stdin && !e.Detach {
		files[0], x.input, err = pipefs.NewConnectedPipeFDs(ctx, s.kernel.PipeMount(), 0)
	} else {
		files[0], err = null(linux.O_RDONLY)
	}
	for fd := 1; fd <= 2 && err == nil; fd++ {
		if e.Detach {
			files[fd], err = null(linux.O_WRONLY)
		} else {
			x.outputs[fd], files[fd], err = pipefs.NewConnectedPipeFDs(ctx, s.kernel.PipeMount(), 0)
		}
	}
	if err != nil {
		return files, fmt.Errorf("standard input and output: %w", err)
	}
	return files, nil
}

// terminalFiles is files with a terminal, which becomes the controlling one.
func (x *execution) terminalFiles(s *Sentry, ctx context.Context, creds *auth.Credentials, e channel.Exec) (files [3]*vfs.FileDescription, err error) {
	t := &terminal{ctx: x.ctx, sentry: s, creds: creds, out: x.session.Stdout, ended: x.stop}
	if e.Stdin {
		t.in = x.session.Stdin
	}
	if err := t.open(ctx, e.Rows, e.Cols); err != nil {
		return files, fmt.Errorf("terminal: %w", err)
	}
	x.terminal = t
	return t.files(x.group, true)
}

// pump begins to copy.
func (x *execution) pump() {
	if x.terminal != nil {
		x.terminal.start()
		return
	}
	if x.input != nil {
		x.pumps.Add(1)
		go func() {
			defer x.pumps.Done()
			defer release(x.ctx, x.input)
			copyIn(x.ctx, x.input, x.stop, x.session.Stdin)
		}()
	}
	for fd, out := range [3]*uplink.Output{1: x.session.Stdout, 2: x.session.Stderr} {
		if out != nil {
			x.pumps.Add(1)
			go func() {
				defer x.pumps.Done()
				defer release(x.ctx, x.outputs[fd])
				// That whom it is for has gone, the session knows.
				_ = copyOut(x.ctx, out, x.stop, x.outputs[fd])
			}()
		}
	}
}

// carryOut does what is asked of the session.
func (x *execution) carryOut(k *kernel.Kernel, r channel.Request) {
	if r.Winsize != nil {
		if x.terminal != nil {
			x.terminal.resize(r.Winsize[0], r.Winsize[1])
		}
		return
	}
	sig, err := signalOf(r)
	if err == nil {
		err = x.signal(k, sig)
	}
	if err != nil {
		notice.Printf("request of a session: %v", err)
	}
}

// signal sends the program a signal, unless it has ended.
func (x *execution) signal(k *kernel.Kernel, sig linux.Signal) error {
	err := k.SendExternalSignalThreadGroup(x.group, &linux.SignalInfo{Signo: int32(sig), Code: linux.SI_KERNEL})
	if linuxerr.Equals(linuxerr.ESRCH, err) {
		return nil
	}
	return err
}

// finish ends the copying. If the program has ended, all that it has written has
// left when finish returns.
func (x *execution) finish() {
	close(x.stop)
	x.session.Stdin.Close()
	x.pumps.Wait()
	if x.terminal != nil {
		x.terminal.pumps.Wait()
		x.terminal.release()
	}
}

// release gives back what was made for a program that is not served.
func (x *execution) release() {
	release(x.ctx, x.input, x.outputs[1], x.outputs[2])
	if x.terminal != nil {
		x.terminal.release()
	}
}

// release gives back references to files, of which some may be nil.
func release(ctx context.Context, files ...*vfs.FileDescription) {
	for _, file := range files {
		if file != nil {
			file.DecRef(ctx)
		}
	}
}
