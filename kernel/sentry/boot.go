package sentry

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"gvisor.dev/gvisor/pkg/cpuid"
	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/pkg/sentry/arch/fpu"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/cgroup2fs"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/host"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/pkg/sentry/loader"
	"gvisor.dev/gvisor/pkg/sentry/vfs"

	"kiln/kernel/machine"
	"kiln/kernel/notice"
	"kiln/kernel/sentry/bounds"
	"kiln/kernel/sentry/fast"
	"kiln/kernel/sentry/linux"
	"kiln/kernel/sentry/memory"
	"kiln/kernel/sentry/missing"
	"kiln/kernel/sentry/platform"
	"kiln/kernel/sentry/tracing"
)

// Sentry is the running Sentry with its image.
type Sentry struct {
	config   Config
	kernel   *kernel.Kernel
	platform *platform.Platform
	creds    *auth.Credentials // of init
	mounts   *mounter
	mns      *vfs.MountNamespace
	networks *networks
	// nameServers is what was last written to resolv.conf.
	nameServers string
	clock       machine.ClockInfo
	memory      *memory.Keeper
	bounds      *bounds.Bounds
	missing     missing.Files
	storage     *storage
	started     bool                // tasks run
	idle        *kernel.ThreadGroup // process 1 if it is none of the programs: it never runs
	console     console
	outputs     *outputs        // nil before the console, and without the channel
	tracer      *tracing.Tracer // nil: system calls are not traced
	running     processes       // the programs, while they run
}

// Boot brings the Sentry up as far as a mounted root file system. It takes
// over c.RootFS.
func Boot(c Config) (*Sentry, error) {
	tracer := setUpLog(c.Verbose, c.Strace)
	if err := machine.WatchMemory(); err != nil {
		return nil, err
	}
	state, err := machine.Memory()
	if err != nil {
		return nil, err
	}
	total := state.Total * machine.PageSize
	if err := setUpMemory(total); err != nil {
		return nil, err
	}
	clock, err := machine.Clock()
	if err != nil {
		return nil, err
	}
	cpuid.Initialize()
	fpu.InitHostState()

	s := &Sentry{clock: clock, config: c, tracer: tracer, memory: memory.New(state), bounds: bounds.New(int(state.Total))}
	s.platform = platform.New(platform.Hooks{
		Poll:     c.Poll,
		MakeRoom: s.memory.MakeRoom,
		NoTask:   s.memory.NoTask,
		Collect:  s.memory.Collect,
		NoMemory: s.memory.NoMemory,
	}, s.memory.Reserve())
	devices, broken := c.Devices, c.Broken
	if err := useEntropyDevice(devices); err != nil {
		return nil, err
	}
	if err := s.initKernel(total); err != nil {
		return nil, err
	}
	// Programs that need no network run without one that does not work.
	if err := errors.Join(broken, s.networks.attach(devices, c.Interfaces)); err != nil {
		notice.Printf("network: %v", err)
	}
	if err := s.findStorage(devices); err != nil {
		return nil, err
	}
	s.keepMemory()
	if err := s.mountFilesystems(); err != nil {
		return nil, err
	}
	return s, nil
}

// setUpLog directs the Sentry's log. The logger is changed in place: those with a
// rate limit have kept it since they were made. strace says what is printed of
// system calls; the tracer takes them out of the log.
func setUpLog(verbose bool, strace string) *tracing.Tracer {
	logger := log.Log()
	// Below Warning there is no level; warnings that matter to whoever runs
	// a program are printed by Kiln itself.
	emitter, level := log.Emitter(discardLog{}), log.Warning
	if verbose {
		emitter, level = log.GoogleEmitter{Writer: &log.Writer{Next: os.Stderr}}, log.Info
	}
	if strace == "" {
		logger.Emitter = emitter
		logger.SetLevel(level)
		return nil
	}
	tracer := tracing.New(strace, os.Stderr, emitter, level)
	logger.Emitter = tracer
	logger.SetLevel(log.Info)
	return tracer
}

// initKernel makes the Sentry's kernel on total bytes of memory. What each step
// needs of the ones before it fixes their order.
func (s *Sentry) initKernel(total uint64) error {
	k := &kernel.Kernel{Platform: s.platform}
	s.kernel = k
	mf, err := newMemoryFile()
	if err != nil {
		return err
	}
	k.SetMemoryFile(mf)
	vdso, err := loader.PrepareVDSO(mf)
	if err != nil {
		return fmt.Errorf("VDSO: %w", err)
	}
	params := kernel.NewVDSOParamPage(mf, vdso.ParamPage.FileRange())
	clock := kernel.NewTimekeeper()
	clocks, err := newClocks(s.clock)
	if err != nil {
		return err
	}
	clock.SetClocks(clocks, params)

	userns := auth.NewRootUserNamespace()
	s.creds = initCredentials(userns, s.config.Processes != 0, s.config.User)
	if s.networks, err = newNetworks(packetClock{clocks}, k, total); err != nil {
		return err
	}
	err = k.Init(kernel.InitKernelArgs{
		FeatureSet:           cpuid.HostFeatureSet().Fixed(),
		Timekeeper:           clock,
		RootUserNamespace:    userns,
		RootNetworkNamespace: s.networks.namespace(userns),
		ApplicationCores:     uint(s.platform.ConcurrencyCount()),
		Vdso:                 vdso,
		VdsoParams:           params,
		RootUTSNamespace:     kernel.NewUTSNamespace(s.hostname(), "", userns),
		RootIPCNamespace:     kernel.NewIPCNamespace(userns),
		RootPIDNamespace:     kernel.NewRootPIDNamespace(userns),
		Cgroup2FSInit:        cgroup2fs.NewFilesystem,
	})
	if err != nil {
		return fmt.Errorf("kernel: %w", err)
	}
	linux.Correct(k)
	s.bounds.Wrap()
	s.missing.Watch()
	fast.Wrap()
	return s.mountHost()
}

// mountHost makes the mount under which descriptors of the Sentry's own host,
// such as the console, can become a program's.
func (s *Sentry) mountHost() error {
	fs, err := host.NewFilesystem(s.kernel.VFS())
	if err != nil {
		return fmt.Errorf("host file system: %w", err)
	}
	defer fs.DecRef(s.kernel.SupervisorContext())
	s.kernel.SetHostMount(s.kernel.VFS().NewDisconnectedMount(fs, nil, &vfs.MountOptions{}))
	return nil
}

// mountFilesystems says which file systems there are, and mounts those that the
// program finds.
func (s *Sentry) mountFilesystems() error {
	files := slices.Concat(s.memory.Files(), s.bounds.Files(), s.networks.files())
	if err := registerFilesystems(s.kernel.VFS(), files); err != nil {
		return err
	}
	if s.storage != nil {
		if err := s.storage.register(s.kernel.VFS()); err != nil {
			return err
		}
	}
	return s.mount()
}

// mount mounts the root and what belongs under it.
func (s *Sentry) mount() error {
	s.mounts = &mounter{
		ctx:   s.kernel.SupervisorContext(),
		vfs:   s.kernel.VFS(),
		creds: auth.NewRootCredentials(s.creds.UserNamespace),
	}
	var err error
	early := false
	s.mns, err = s.mounts.mountRoot(int(s.config.RootFS.Fd()), s.kernel, func(image, writes *mounter) error {
		early, err = s.prepareRoot(image, writes)
		return err
	})
	if err != nil {
		return err
	}
	if err := s.mounts.mountAll(); err != nil {
		return err
	}
	for _, p := range s.config.Pipes {
		if err := s.mounts.makePipe(p); err != nil {
			return err
		}
	}
	if err := s.mountStorage(); err != nil || early {
		return err
	}
	return s.writeEtc(s.mounts, s.mounts)
}

// prepareRoot fills the root's writable layer. It reports whether that was
// possible with /etc, which it is not if that is a link.
func (s *Sentry) prepareRoot(image, writes *mounter) (etc bool, err error) {
	if _, err := writes.copyDirectory("/", image); err != nil {
		return false, err
	}
	copied, err := writes.copyDirectory("/etc", image)
	if err != nil || !copied && image.exists("/etc") {
		return false, err
	}
	return true, s.writeEtc(image, writes)
}

// writeEtc writes the files of /etc that say who and where this machine is.
func (s *Sentry) writeEtc(image, writes *mounter) error {
	name := s.hostname()
	if err := writes.writeFile("/etc/hostname", name+"\n"); err != nil {
		return err
	}
	if err := writeHosts(image, writes, name); err != nil {
		return err
	}
	if err := writeMachineID(image, writes); err != nil {
		return err
	}
	return s.writeResolv(writes)
}

func (s *Sentry) hostname() string {
	if s.config.Hostname == "" {
		return "kiln"
	}
	return s.config.Hostname
}
