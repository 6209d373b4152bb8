package memory

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/limits"

	"kiln/kernel/machine"
	"kiln/kernel/sentry/linux"
)

// Some calls have the Sentry take a buffer whose size the program says. It comes
// from the kernel's heap, and nobody may be killed for it: where there is no room,
// the call fails with ENOMEM, as on Linux (fs/select.c, do_sys_poll).

const (
	// freeLoan is up to what size a buffer is had without asking.
	freeLoan = 64 << 10
	// lendFraction is what part of the objects' share all buffers may have.
	lendFraction = 4
	// pollBytes is what poll(2) keeps for a descriptor: a pollfd, a pollState.
	pollBytes = 8 + 56
	// direntsBytes is as much of a directory as is read at once. Linux fills the
	// program's buffer; programs go on until nothing comes.
	direntsBytes = 256 << 10
	// ebpfBytes is what an instruction takes while a program is loaded, twice 8
	// bytes and what is known of it.
	ebpfBytes = 64
)

// lend adds bytes to what calls have in buffers, and reports whether there is room
// for that. The caller gives them back in any case.
func (k *Keeper) lend(bytes int64) bool {
	all := k.lent.Add(bytes)
	return all <= int64(k.share.bytes)/lendFraction && k.roomForBuffers(int(all)/machine.PageSize)
}

// roomForBuffers makes room for pages of buffers, which leave to programs as much
// as files in memory do at most.
func (k *Keeper) roomForBuffers(pages int) bool {
	keep := filesKeep(k.total)
	return k.roomBeside(keep) > pages || k.makeRoomBeside(keep, pages)
}

// borrowers are the calls that want a loan.
func (k *Keeper) borrowers() map[uintptr]linux.Wrapper {
	lending := func(size func(*kernel.Task, arch.SyscallArguments) int) linux.Wrapper {
		return func(next kernel.SyscallFn) kernel.SyscallFn {
			return func(t *kernel.Task, nr uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
				bytes := int64(size(t, args))
				if bytes <= freeLoan {
					return next(t, nr, args)
				}
				defer k.lent.Add(-bytes)
				if !k.lend(bytes) {
					return 0, nil, linuxerr.ENOMEM
				}
				return next(t, nr, args)
			}
		}
	}
	return map[uintptr]linux.Wrapper{
		unix.SYS_POLL:       lending(sizeOfPoll),
		unix.SYS_PPOLL:      lending(sizeOfPoll),
		unix.SYS_BPF:        lending(sizeOfProgram),
		unix.SYS_GETDENTS:   fewEntries,
		unix.SYS_GETDENTS64: fewEntries,
	}
}

// sizeOfPoll returns what poll(2) takes, 0 where it is little: then there is no need
// to look at the limits. More than RLIMIT_NOFILE is refused by the call itself.
func sizeOfPoll(t *kernel.Task, args arch.SyscallArguments) int {
	n := args[1].SizeT()
	if n <= freeLoan/pollBytes || uint64(n) > t.ThreadGroup().Limits().Get(limits.NumberOfFiles).Cur {
		return 0
	}
	return int(n) * pollBytes
}

// sizeOfProgram returns what bpf(2) takes for a program that is loaded.
func sizeOfProgram(t *kernel.Task, args arch.SyscallArguments) int {
	var head [8]byte // of union bpf_attr: prog_type, insn_cnt
	if args[0].Int() != unix.BPF_PROG_LOAD {
		return 0
	}
	if _, err := t.CopyInBytes(args[1].Pointer(), head[:]); err != nil {
		return 0 // the call says so
	}
	return int(binary.LittleEndian.Uint32(head[4:])) * ebpfBytes
}

// fewEntries is getdents(2) with a buffer of reasonable size.
func fewEntries(next kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, nr uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		if args[2].Int() > direntsBytes {
			args[2].Value = direntsBytes
		}
		return next(t, nr, args)
	}
}
