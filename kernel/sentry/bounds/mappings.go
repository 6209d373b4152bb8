package bounds

import (
	"maps"

	"golang.org/x/sys/unix"
	abi "gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/mm"

	"kiln/kernel/sentry/linux"
)

// A process has at most vm.max_map_count mappings. Calls that would make or split
// one beyond that fail with ENOMEM: mmap(2), munmap(2), mprotect(2), mremap(2);
// mm/mmap.c of Linux.

const (
	// freshMappings is what a program may have before it has made any.
	freshMappings = 64
	// remapSlack is how many mappings a move may take for a while
	// (move_vma).
	remapSlack = 3
	// mapsSlack is how many more address spaces than tasks are remembered.
	mapsSlack = 16
)

func (b *Bounds) mappingCalls() map[uintptr]linux.Wrapper {
	makes := failing(func(t *kernel.Task, _ arch.SyscallArguments) error {
		most := b.mappings.get()
		if n := b.addMappings(t, 1, most); n > most+1 {
			return linuxerr.ENOMEM
		}
		return nil
	})
	// splits is a call with a range that may leave a part of a mapping, which it
	// splits off if differs says so of its rights.
	splits := func(differs func(arch.SyscallArguments, hostarch.AccessType) bool) linux.Wrapper {
		return failing(func(t *kernel.Task, args arch.SyscallArguments) error {
			most := b.mappings.get()
			n := b.addMappings(t, 2, most)
			if n <= most {
				return nil
			}
			split := splitBy(t, args[0].Pointer(), args[1].SizeT(), func(at hostarch.AccessType) bool { return differs(args, at) })
			if split > 0 && n-2+split > most {
				return linuxerr.ENOMEM
			}
			return nil
		})
	}
	always := splits(func(arch.SyscallArguments, hostarch.AccessType) bool { return true })
	calls := map[uintptr]linux.Wrapper{
		unix.SYS_MMAP:    makes,
		unix.SYS_SHMAT:   makes,
		unix.SYS_MREMAP:  b.remap,
		unix.SYS_MLOCK:   always,
		unix.SYS_MLOCK2:  always,
		unix.SYS_MUNLOCK: always,
		unix.SYS_MPROTECT: splits(func(args arch.SyscallArguments, at hostarch.AccessType) bool {
			prot := args[2].Int()
			return at.Read != (prot&abi.PROT_READ != 0) || at.Write != (prot&abi.PROT_WRITE != 0) || at.Execute != (prot&abi.PROT_EXEC != 0)
		}),
		unix.SYS_MUNMAP: b.unmap,
	}
	for _, nr := range []uintptr{unix.SYS_FORK, unix.SYS_CLONE, unix.SYS_CLONE3} {
		calls[nr] = b.inheritMappings
	}
	return calls
}

// addMappings adds n to the mappings that t's process has, at most, and returns
// how many those may be. If they may be more than most, they are counted first.
func (b *Bounds) addMappings(t *kernel.Task, n, most int64) int64 {
	m := t.MemoryManager()
	b.mu.Lock()
	defer b.mu.Unlock()
	have, known := b.maps[m]
	if !known {
		b.forgetMappings(t)
		have = freshMappings
		if !t.ThreadGroup().Execed() {
			have = most // a child that runs before its parent has said how many those are
		}
	}
	if have+n > most {
		have = 0
		m.ReadMapsDataInto(t, func(_, end hostarch.Addr, _ hostarch.AccessType, _ string, _ uint64, _, _ uint32, _ uint64, _ string) {
			if end <= userEnd {
				have++
			}
		})
	}
	b.maps[m] = have + n
	return have + n
}

// userEnd is above what programs can map: the vsyscall page is not counted.
const userEnd = 1 << 47

// forgetMappings forgets address spaces that are gone, if there are many. mu is
// held.
func (b *Bounds) forgetMappings(t *kernel.Task) {
	if len(b.maps) < t.Kernel().RootPIDNamespace().NumTasks()+mapsSlack {
		return
	}
	live := liveSpaces(t)
	maps.DeleteFunc(b.maps, func(m *mm.MemoryManager, _ int64) bool { return !live[m] })
}

// splitBy returns how many mappings a change of a range would split: those that
// its ends are in, if differs says of their rights that they would be changed.
func splitBy(t *kernel.Task, addr hostarch.Addr, size uint, differs func(hostarch.AccessType) bool) (n int64) {
	end := hostarch.Addr((uint64(addr) + uint64(size) + pageSize - 1) &^ (pageSize - 1))
	t.MemoryManager().ReadMapsDataInto(t, func(from, to hostarch.Addr, at hostarch.AccessType, _ string, _ uint64, _, _ uint32, _ uint64, _ string) {
		if !differs(at) {
			return
		}
		if from < addr && addr < to {
			n++
		}
		if from < end && end < to {
			n++
		}
	})
	return n
}

// unmap has munmap(2) fail where it makes a hole in a mapping.
func (b *Bounds) unmap(next kernel.SyscallFn) kernel.SyscallFn {
	return failing(func(t *kernel.Task, args arch.SyscallArguments) error {
		most := b.mappings.get()
		if b.addMappings(t, 1, most) <= most {
			return nil
		}
		addr := args[0].Pointer()
		end := addr + hostarch.Addr(args[1].SizeT())
		if r, err := t.MemoryManager().FindVMARange(addr); err == nil && r.Start < addr && end < r.End {
			return linuxerr.ENOMEM
		}
		return nil
	})(next)
}

// remap has mremap(2) fail where it would have to move a mapping.
func (b *Bounds) remap(next kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, nr uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		flags := args[3].Int()
		if most := b.mappings.get(); flags != 0 && b.addMappings(t, remapSlack, most) > most {
			if flags&abi.MREMAP_FIXED != 0 {
				return 0, nil, linuxerr.ENOMEM
			}
			args[3] = arch.SyscallArgument{} // where it is, or not at all
		}
		return next(t, nr, args)
	}
}

// inheritMappings has a child begin with its parent's count.
func (b *Bounds) inheritMappings(next kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, nr uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		tid, ctrl, err := next(t, nr, args)
		if err != nil {
			return tid, ctrl, err
		}
		if child := t.PIDNamespace().TaskWithID(kernel.ThreadID(tid)); child != nil {
			var m *mm.MemoryManager
			child.WithMuLocked(func(child *kernel.Task) { m = child.MemoryManager() })
			b.mu.Lock()
			if n, ok := b.maps[t.MemoryManager()]; ok && m != nil {
				if _, counted := b.maps[m]; !counted {
					b.maps[m] = n
				}
			}
			b.mu.Unlock()
		}
		return tid, ctrl, err
	}
}
