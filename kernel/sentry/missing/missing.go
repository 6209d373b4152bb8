// Package missing notes which files of kinds that everybody knows programs look
// for in an image that has none: time zones, certificates, a shell. If the
// program fails, whoever runs it is told, and how to bake with them.
//
// Context: task goroutines.
package missing

import (
	"fmt"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/fspath"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/vfs"

	corrections "kiln/kernel/sentry/linux"
)

// A kind is files that lie below one path on every system. Others may lead there
// too. bake adds what it sees a program may look for; docs/image.md lists that.
type kind struct {
	path string   // what kiln bake --add takes
	also []string // where it may be instead
}

// kinds are all of them. Those that programs look for without a need, such as
// locales, character sets, and where Python, Perl and Ruby have further modules,
// are not among them.
var kinds = []kind{
	{path: "/usr/share/zoneinfo"},
	{path: "/etc/ssl/certs", also: []string{"/usr/lib/ssl/cert.pem", "/usr/lib/ssl/certs", "/etc/ssl/cert.pem", "/etc/pki/tls/certs"}},
	{path: "/bin/sh", also: []string{"/usr/bin/sh", "/bin/bash", "/usr/bin/bash"}},
	{path: "/usr/share/terminfo", also: []string{"/lib/terminfo", "/usr/lib/terminfo", "/etc/terminfo"}},
	{path: "/etc/mime.types"},
	{path: "/usr/share/misc/magic.mgc", also: []string{"/usr/lib/file/magic.mgc", "/etc/magic"}},
	{path: "/etc/pam.d"},
	{path: "/usr/share/php"},
	{path: "/usr/share/nodejs"},
}

// find returns the kind that p belongs to, -1 if it belongs to none.
func find(p string) int {
	for i, k := range kinds {
		if under(p, k.path) {
			return i
		}
		for _, also := range k.also {
			if under(p, also) {
				return i
			}
		}
	}
	return -1
}

// under reports whether p is dir or lies below it.
func under(p, dir string) bool {
	rest, ok := strings.CutPrefix(p, dir)
	return ok && (rest == "" || rest[0] == '/')
}

// Files are what programs looked for in vain.
type Files struct {
	mu     sync.Mutex
	met    [32]bool // by kind: whether it was looked for; guarded by mu
	looked []look   // guarded by mu
}

// A look is the first at a kind that the image has nothing of.
type look struct{ program, path, add string }

// Watch has looks noted from now on. No task may run yet. A call that finds its
// file pays for one comparison.
func (f *Files) Watch() {
	calls := map[uintptr]corrections.Wrapper{}
	for sysno, at := range map[uintptr]int{
		unix.SYS_OPEN: 0, unix.SYS_OPENAT: 1, unix.SYS_STAT: 0, unix.SYS_LSTAT: 0, unix.SYS_NEWFSTATAT: 1, unix.SYS_STATX: 1,
		unix.SYS_ACCESS: 0, unix.SYS_FACCESSAT: 1, unix.SYS_EXECVE: 0,
	} {
		calls[sysno] = f.wrapper(at)
	}
	corrections.Wrap(calls)
}

// wrapper notes calls that fail with ENOENT; their argument at is the path.
func (f *Files) wrapper(at int) corrections.Wrapper {
	return func(next kernel.SyscallFn) kernel.SyscallFn {
		return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
			n, ctrl, err := next(t, sysno, args)
			if err != nil && linuxerr.Equals(linuxerr.ENOENT, err) {
				f.note(t, args[at].Pointer())
			}
			return n, ctrl, err
		}
	}
}

// maxPath bounds the paths that are read: those of the kinds are shorter.
const maxPath = 256

// note notes that a task has not found the file at the path at addr.
func (f *Files) note(t *kernel.Task, addr hostarch.Addr) {
	name, err := t.CopyInString(addr, maxPath)
	if err != nil {
		return
	}
	i := find(name)
	if i < 0 || !f.first(i) || exists(t, kinds[i]) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looked = append(f.looked, look{t.Name(), name, kinds[i].path})
}

// first reports whether nobody has looked for kind i before.
func (f *Files) first(i int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	first := !f.met[i]
	f.met[i] = true
	return first
}

// exists reports whether there is a file of the kind.
func exists(t *kernel.Task, k kind) bool {
	root := t.FSContext().RootDirectory()
	defer root.DecRef(t)
	for _, p := range append([]string{k.path}, k.also...) {
		at := &vfs.PathOperation{Root: root, Start: root, Path: fspath.Parse(p), FollowFinalSymlink: true}
		if _, err := t.Kernel().VFS().StatAt(t, t.Credentials(), at, &vfs.StatOptions{Mask: linux.STATX_TYPE}); err == nil {
			return true
		}
	}
	return false
}

// Lines say what programs looked for in vain, one line a kind.
func (f *Files) Lines() (out []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.looked {
		out = append(out, fmt.Sprintf("%s looked for %s, which the image lacks: if it failed for that, bake with --add %s", l.program, l.path, l.add))
	}
	return out
}
