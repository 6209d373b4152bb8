package sentry

import (
	"fmt"
	"slices"
	"sync"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/pipefs"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/vfs"

	"kiln/image"
	"kiln/kernel/notice"
)

// processes are the programs that run, for whoever has a signal for them.
type processes struct {
	mu     sync.Mutex
	groups []*kernel.ThreadGroup // guarded by mu
	ending bool                  // no more are to start; guarded by mu
}

// add notes a process that is about to run. It reports false if no more are to
// start.
func (p *processes) add(tg *kernel.ThreadGroup) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ending {
		return false
	}
	p.groups = append(p.groups, tg)
	return true
}

// remove forgets a process that has ended.
func (p *processes) remove(tg *kernel.ThreadGroup) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.groups = slices.DeleteFunc(p.groups, func(g *kernel.ThreadGroup) bool { return g == tg })
}

// end lets no more start.
func (p *processes) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ending = true
}

// list returns what runs.
func (p *processes) list() []*kernel.ThreadGroup {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.groups)
}

// runSequence runs the programs one after the other, as their modes say, and
// waits for all of them. How it ended is how the last in the foreground did,
// or the last of all if none was.
//
// The programs are no children of each other, so process 1 is none of them: it
// is one that never runs, and adopts what they leave behind.
func (s *Sentry) runSequence() (Exit, error) {
	if err := s.awaitNetwork(); err != nil {
		return Exit{}, err
	}
	if err := s.startKernel(); err != nil { // there is nothing to start yet
		return Exit{}, err
	}
	if err := s.createIdleInit(); err != nil {
		return Exit{}, err
	}
	s.console.start()
	if s.config.Link != nil {
		go s.serveRequests(s.config.Link.Requests())
		go s.serveSessions(s.config.Link.Sessions())
	}
	q := &sequence{sentry: s}
	for _, p := range s.config.Programs {
		more, err := q.run(p)
		if err != nil {
			return Exit{}, err
		}
		if !more {
			break
		}
	}
	q.ended.Wait()
	s.console.drain()
	if q.decides == nil { // asked to end before anything ran
		return Exit{Code: 128 + int(linux.SIGTERM)}, nil
	}
	return s.exitOf(q.decides), nil
}

// createIdleInit makes process 1, which is not started, and with it the
// console.
func (s *Sentry) createIdleInit() error {
	// Any program will do to give it a memory image.
	init, table, err := s.createProcess(s.processFor(Program{Path: s.config.Programs[0].Path, Args: []string{"init"}}))
	if err != nil {
		return err
	}
	s.idle = init
	ctx := init.Leader().AsyncContext()
	table.DecRef(ctx)
	// Its children are gone when they end, for it never waits (wait(2)).
	if _, err := init.SetSigAction(linux.SIGCHLD, &linux.SigAction{Handler: linux.SIG_IGN}); err != nil {
		return fmt.Errorf("init: %w", err)
	}
	if s.console, err = s.openConsole(ctx); err != nil {
		return fmt.Errorf("console: %w", err)
	}
	return nil
}

// sequence is the state of runSequence.
type sequence struct {
	sentry  *Sentry
	pipe    *vfs.FileDescription // from the program before, or nil
	ended   sync.WaitGroup       // the programs that were started
	decides *kernel.ThreadGroup  // whose end is the sequence's
	final   bool                 // decides was in the foreground
}

// run runs p. It reports whether the next program is to run.
func (q *sequence) run(p Program) (more bool, err error) {
	s := q.sentry
	tg, err := q.create(p)
	if err != nil {
		return false, err
	}
	if !s.running.add(tg) {
		return false, nil
	}
	s.kernel.StartProcess(tg)
	q.ended.Add(1)
	go func() {
		defer q.ended.Done()
		tg.WaitExited()
		s.running.remove(tg)
	}()
	foreground := p.Mode == image.ModeForeground
	if foreground || !q.final {
		q.decides, q.final = tg, foreground
	}
	if !foreground {
		return true, nil
	}
	tg.WaitExited()
	if status := tg.ExitStatus(); status.Signaled() || status.ExitStatus() != 0 {
		// The others are not left to run: nobody would see why.
		if err := s.shutdown(); err != nil {
			notice.Printf("after %s failed: %v", p.Path, err)
		}
		return false, nil
	}
	return true, nil
}

// create loads p with its descriptors: the console, or pipes.
func (q *sequence) create(p Program) (*kernel.ThreadGroup, error) {
	s := q.sentry
	tg, table, err := s.createProcess(s.processFor(p))
	if err != nil {
		return nil, err
	}
	ctx := tg.Leader().AsyncContext()
	defer table.DecRef(ctx)
	files, err := s.console.files(tg, p.Mode == image.ModeForeground)
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	replace := func(fd int, file *vfs.FileDescription) {
		files[fd].DecRef(ctx)
		files[fd] = file
	}
	if q.pipe != nil {
		replace(0, q.pipe)
		q.pipe = nil
	} else if p.Mode == image.ModeBackground {
		// As a shell has it: input is for what is in the foreground.
		null, err := s.open(ctx, "/dev/null", linux.O_RDONLY)
		if err != nil {
			return nil, err
		}
		replace(0, null)
	}
	if p.Mode == image.ModePipe {
		read, write, err := pipefs.NewConnectedPipeFDs(ctx, s.kernel.PipeMount(), 0)
		if err != nil {
			return nil, fmt.Errorf("pipe: %w", err)
		}
		replace(1, write)
		q.pipe = read
	}
	return tg, setFiles(ctx, table, files)
}
