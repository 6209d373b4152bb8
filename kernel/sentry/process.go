package sentry

import (
	"fmt"
	"strings"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/user"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/pkg/sentry/limits"
	"gvisor.dev/gvisor/pkg/sentry/vfs"

	"kiln/image"
	"kiln/kernel/sentry/bounds"
	"kiln/kernel/sentry/fast"
)

// initCredentials are the user's, root's if there is none. RLIMIT_NPROC does
// not bind who has CAP_SYS_ADMIN or CAP_SYS_RESOURCE, so with a limit init has
// neither, like root in a container.
func initCredentials(userns *auth.UserNamespace, limited bool, as *image.User) *auth.Credentials {
	all := auth.AllCapabilities
	if limited {
		all &^= auth.CapabilitySetOf(linux.CAP_SYS_ADMIN) | auth.CapabilitySetOf(linux.CAP_SYS_RESOURCE)
	}
	caps := &auth.TaskCapabilities{PermittedCaps: all, EffectiveCaps: all, BoundingCaps: all}
	if as == nil {
		return auth.NewUserCredentials(auth.RootKUID, auth.RootKGID, nil, caps, userns)
	}
	if as.UID != 0 { // capabilities(7), "Capabilities and execution of programs by root"
		caps = &auth.TaskCapabilities{BoundingCaps: all}
	}
	var groups []auth.KGID
	for _, g := range as.Groups {
		groups = append(groups, auth.KGID(g))
	}
	return auth.NewUserCredentials(auth.KUID(as.UID), auth.KGID(as.GID), groups, caps, userns)
}

// initLimits are the resource limits of init on a machine of at most so many
// tasks: a Linux distribution's, with a high bound on open files because servers
// size themselves after it.
func initLimits(threads int, processes uint64) (*limits.LimitSet, error) {
	ls, err := limits.NewLinuxDistroLimitSet()
	if err != nil {
		return nil, err
	}
	bounds.Limits(ls, threads)
	ls.SetUnchecked(limits.NumberOfFiles, limits.Limit{Cur: 65536, Max: 1 << 20})
	ls.SetUnchecked(limits.Core, limits.Limit{Cur: 0, Max: limits.Infinity})
	if processes != 0 {
		ls.SetUnchecked(limits.ProcessCount, limits.Limit{Cur: processes, Max: processes})
	}
	return ls, nil
}

// defaultEnv is set unless the configuration has the variable.
var defaultEnv = []string{
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"HOME=/root",
}

// environment returns env with the defaults.
func environment(env []string, terminal bool) []string {
	defaults := defaultEnv
	if terminal {
		defaults = append(defaults[:len(defaults):len(defaults)], "TERM=linux")
	}
	out := append([]string(nil), env...)
	for _, d := range defaults {
		name, _, _ := strings.Cut(d, "=")
		if !hasVariable(env, name) {
			out = append(out, d)
		}
	}
	return out
}

// hasVariable reports whether env sets name.
func hasVariable(env []string, name string) bool {
	for _, e := range env {
		if strings.HasPrefix(e, name+"=") {
			return true
		}
	}
	return false
}

// process is a program with what it finds when it begins.
type process struct {
	Program
	env   []string
	cwd   string // "/" if empty
	creds *auth.Credentials
}

// processFor returns one of the configuration's programs.
func (s *Sentry) processFor(p Program) process {
	return process{Program: p, env: environment(s.config.Env, s.config.Terminal), cwd: s.config.Cwd, creds: s.creds}
}

// createProcess loads p as a new process. It does not run yet, and has no
// descriptors. The caller starts it, and gives back the table.
func (s *Sentry) createProcess(p process) (*kernel.ThreadGroup, *kernel.FDTable, error) {
	if len(p.Args) == 0 {
		return nil, nil, fmt.Errorf("the image names no program")
	}
	ls, err := initLimits(s.memory.MaxThreads(), s.config.Processes)
	if err != nil {
		return nil, nil, err
	}
	args := kernel.CreateProcessArgs{
		Filename:             p.Path,
		Argv:                 p.Args,
		Envv:                 p.env,
		WorkingDirectory:     p.cwd,
		Credentials:          p.creds,
		Umask:                0022,
		Limits:               ls,
		MaxSymlinkTraversals: linux.MaxSymlinkTraversals,
		UTSNamespace:         s.kernel.RootUTSNamespace(),
		IPCNamespace:         s.kernel.RootIPCNamespace(),
		PIDNamespace:         s.kernel.RootPIDNamespace(),
		MountNamespace:       s.mns,
		ContainerID:          "kiln",
	}
	ctx := args.NewContext(s.kernel)
	if args.Filename, err = user.ResolveExecutablePath(ctx, &args); err != nil {
		return nil, nil, err
	}
	args.FDTable = s.kernel.NewFDTable()
	fast.Trim(args.FDTable)
	s.mns.IncRef() // CreateProcess takes one
	tg, _, err := s.kernel.CreateProcess(args)
	if err != nil {
		args.FDTable.DecRef(ctx)
		return nil, nil, fmt.Errorf("start %s: %w", args.Filename, err)
	}
	return tg, args.FDTable, nil
}

// setFiles makes files descriptors 0 to 2 of a process, and takes their
// references over.
func setFiles(ctx context.Context, table *kernel.FDTable, files [3]*vfs.FileDescription) error {
	for fd, file := range files {
		defer file.DecRef(ctx) // the table has its own
		if _, err := table.NewFDAt(ctx, int32(fd), file, kernel.FDFlags{}); err != nil {
			return fmt.Errorf("descriptor %d: %w", fd, err)
		}
	}
	return nil
}

// createInit loads the only program as process 1, on the console. It does not
// run yet.
func (s *Sentry) createInit(p Program) (*kernel.ThreadGroup, error) {
	init, table, err := s.createProcess(s.processFor(p))
	if err != nil {
		return nil, err
	}
	ctx := init.Leader().AsyncContext()
	defer table.DecRef(ctx)
	if s.console, err = s.openConsole(ctx); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	files, err := s.console.files(init, true)
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	return init, setFiles(ctx, table, files)
}
