package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"kiln/instance"
	"kiln/run"
)

// instanceFlags are the flags of kiln run that are about the instance.
type instanceFlags struct {
	detach  bool
	name    string
	restart string
	remove  bool
	labels  []string
	logOpts []string

	// What check makes of them.
	policy instance.Policy
	kept   bool // it stays when it ends
	log    instance.LogOptions
}

func (f *instanceFlags) addFlags(fs *pflag.FlagSet) {
	fs.BoolVarP(&f.detach, "detach", "d", false, "run in the background, and print the instance's name")
	fs.StringVar(&f.name, "name", "", "name of the instance (default: one is invented)")
	fs.StringVar(&f.restart, "restart", "no", "whether to start again when the program has ended: `no`, on-failure[:N] or always")
	fs.BoolVar(&f.remove, "rm", false, "remove the instance when it ends")
	fs.StringArrayVar(&f.labels, "label", nil, "label of the instance, `KEY=VALUE`")
	fs.StringArrayVar(&f.logOpts, "log-opt", nil, "bound of the kept output, `max-size=SIZE` of a file, max-file=NUMBER of files (default 10m, 5)")
}

// check works out the flags, which fs has parsed.
func (f *instanceFlags) check(fs *pflag.FlagSet) (err error) {
	if f.policy, err = instance.ParsePolicy(f.restart); err != nil {
		return err
	}
	if f.remove && f.policy != (instance.Policy{}) {
		return usageError{"--rm and --restart exclude each other", ""}
	}
	f.kept = f.detach || f.name != "" || f.policy != (instance.Policy{}) || fs.Changed("rm")
	f.kept = f.kept && !f.remove
	f.log = instance.DefaultLog
	for _, o := range f.logOpts {
		if err := f.log.Set(o); err != nil {
			return err
		}
	}
	return nil
}

// config returns what the instance of the command line is made with.
func (c *runCall) instance(args []string) (instance.Config, error) {
	config := instance.Config{
		Name: c.keep.name, Image: c.options.Image, Command: runName, Args: args,
		Restart: c.keep.policy, Remove: !c.keep.kept, Detached: c.keep.detach, Log: c.keep.log,
	}
	for _, l := range c.keep.labels {
		key, value, _ := strings.Cut(l, "=")
		if key == "" {
			return config, usageError{fmt.Sprintf("--label %s: there is no key", l), "write --label KEY=VALUE"}
		}
		if config.Labels == nil {
			config.Labels = make(map[string]string)
		}
		config.Labels[key] = value
	}
	return config, nil
}

// run carries out kiln run.
func (a *app) run(c *runCall) (int, error) {
	config, err := c.instance(a.args)
	if err != nil {
		return 0, err
	}
	h, err := a.create(config)
	if err != nil && (c.keep.kept || c.keep.detach || c.keep.name != "") {
		return exitFailure, err
	}
	switch {
	case err != nil:
		a.note([]string{unlisted(err)})
		return a.runAlone(c)
	case c.keep.detach:
		return a.runDetached(h, c)
	}
	return a.runForeground(h, c)
}

// unlisted says that a run has no record, because of err.
func unlisted(err error) string { return "kiln ps will not show this run: " + err.Error() }

// create makes an instance of config.
func (a *app) create(config instance.Config) (*instance.Held, error) {
	store, err := instance.Open(a.getenv)
	if err != nil {
		return nil, err
	}
	if config.Dir, err = os.Getwd(); err != nil {
		return nil, err
	}
	return store.Create(config)
}

// runAlone runs what c says without a record.
func (a *app) runAlone(c *runCall) (int, error) {
	o, done, err := a.openImage(c.options, c.config, "")
	if err != nil {
		return exitFailure, err
	}
	defer done()
	return run.Run(o, a.stdio())
}

// runForeground runs what c says as instance h, at the user's terminal.
func (a *app) runForeground(h *instance.Held, c *runCall) (int, error) {
	dir := "" // an image that is baked now goes away with this process
	if !h.Remove {
		dir = h.Folder()
	}
	o, done, err := a.openImage(c.options, c.config, dir)
	if err != nil {
		return exitFailure, abandon(h, err)
	}
	defer done()
	std := a.stdio()
	if !h.Remove {
		log, err := h.OpenLog()
		if err != nil {
			return exitFailure, abandon(h, err)
		}
		defer log.Close()
		std.OutCopy, std.ErrCopy = log.Stream("stdout"), log.Stream("stderr")
	}
	return a.lookAfter(h, o, std, nil, func() error { return nil })
}

// abandon removes instance h, which never ran because of err.
func abandon(h *instance.Held, err error) error {
	if e := h.Leave(); e != nil {
		return fmt.Errorf("%w; and the instance was not removed: %v", err, e)
	}
	return err
}

// lookAfter runs the guests of instance h, one or, by its policy, more, and
// returns the last one's exit status. in, if not nil, is their input in place of
// std's. lives is called when the first one lives.
func (a *app) lookAfter(h *instance.Held, o run.Options, std run.Stdio, in *input, lives func() error) (int, error) {
	fresh := h.State.Status == instance.Creating
	s := instance.NewSupervisor(h)
	s.Tell = func(err error) { a.complain(err, 0) }
	err := h.SetProgram(programOf(o))
	if err == nil {
		err = h.Supervise()
	}
	if err != nil {
		return exitFailure, abandon(h, err)
	}
	var serveInput func(net.Conn)
	if in != nil {
		serveInput = in.serve
	}
	server, err := s.Serve(serveInput)
	if err != nil {
		h.Remove = h.Remove || fresh
		return exitFailure, abandon(h, err)
	}
	defer stopAfterSignals(s)()
	if o.Control == "" {
		o.Control = h.ControlSocket()
	}
	var first sync.Once
	started := o.Started
	o.Launched = func(pid int, ports []run.Port) {
		if err := h.SetRunning(pid, recordPorts(ports)); err != nil {
			s.Tell(err)
		}
	}
	o.Started = func() {
		s.Lives()
		first.Do(func() {
			if err := lives(); err != nil {
				s.Tell(err)
			}
		})
		if started != nil {
			started()
		}
	}
	s.Guest = func(requests <-chan instance.Request) (int, error) {
		ended := make(chan struct{})
		defer close(ended)
		o.Orders = ordersOf(requests, o.StopTimeout, ended)
		if in != nil {
			r := in.next()
			defer r.Close()
			std.In = r
		}
		return run.Run(o, std)
	}
	code, err := s.Run()
	if e := server.Close(); e != nil {
		s.Tell(e)
	}
	if fresh && !s.Lived() {
		h.Remove = true // what never ran is no instance
	}
	if err != nil && s.Lived() && h.Detached {
		s.Tell(err) // to the log, while it is ours
		err = nil
	}
	if e := h.Leave(); e != nil {
		s.Tell(e)
	}
	return code, err
}

// stopAfterSignals has s start no other guest once a signal came that is sent
// to end a process. undo ends that.
func stopAfterSignals(s *instance.Supervisor) (undo func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT)
	done := make(chan struct{})
	go func() {
		select {
		case <-signals:
			s.StopAfter()
		case <-done:
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}

// ordersOf passes requests on as what package run understands, until ended is
// closed. patience is the run's own time to stop.
func ordersOf(requests <-chan instance.Request, patience time.Duration, ended <-chan struct{}) <-chan run.Order {
	orders := make(chan run.Order)
	go func() {
		for {
			select {
			case r := <-requests:
				select {
				case orders <- orderOf(r, patience):
				case <-ended:
					return
				}
			case <-ended:
				return
			}
		}
	}()
	return orders
}

func orderOf(r instance.Request, patience time.Duration) run.Order {
	switch r.Action {
	case instance.ActionStop, instance.ActionRestart:
		if r.Timeout != nil {
			patience = time.Duration(*r.Timeout) * time.Millisecond
		}
		return run.Order{Stop: true, Timeout: patience}
	case instance.ActionResize:
		return run.Order{Rows: r.Rows, Cols: r.Cols}
	}
	if r.Signal == "KILL" {
		return run.Order{Kill: true}
	}
	return run.Order{Signal: r.Signal}
}

func recordPorts(ports []run.Port) []instance.Port {
	var all []instance.Port
	for _, p := range ports {
		all = append(all, instance.Port{Proto: p.Proto, HostIP: p.IP.String(), HostPort: p.Host, GuestPort: p.Guest})
	}
	return all
}

// programOf returns what o runs, as its arguments.
func programOf(o run.Options) []string {
	if len(o.Commands) > 0 {
		return o.Commands[0].Args
	}
	return o.Manifest.Argv(o.Args)
}

// lines is where a process's own lines go, which changes when others no longer
// listen.
type lines struct {
	mu sync.Mutex
	to io.Writer // guarded by mu
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to.Write(b)
}

func (l *lines) switchTo(w io.Writer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.to = w
}
