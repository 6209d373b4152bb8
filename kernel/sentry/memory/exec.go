package memory

import (
	"bytes"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"

	"kiln/kernel/machine"
	"kiln/kernel/sentry/linux"
)

const (
	// execPlenty is how many pages above the reserve are enough for each execve
	// that goes on.
	execPlenty = 4096
	// execCopies is how many times there are a program's arguments in the
	// Sentry's heap, with what is left from making them grow, and on the new
	// stack.
	execCopies = 8
	// execFraction is what part of memory arguments may have when it is short.
	execFraction = 64
	// execSmall is a size of arguments that needs no question.
	execSmall = 64 << 10
	// execMost bounds what is counted: arguments and environment may have 2 MB
	// each, and execve(2) fails anyway.
	execMost = 4 << 20
)

// execs are the calls that execute programs. They fail where there is no memory
// for the arguments, which are first copied into the kernel's heap: one call at a
// time does that.
func (k *Keeper) execs() map[uintptr]linux.Wrapper {
	return map[uintptr]linux.Wrapper{
		unix.SYS_EXECVE:   func(fn kernel.SyscallFn) kernel.SyscallFn { return k.execute(fn, 1) },
		unix.SYS_EXECVEAT: func(fn kernel.SyscallFn) kernel.SyscallFn { return k.execute(fn, 2) },
	}
}

// execute is a call whose argument argv is a program's argument list, and the
// next its environment.
func (k *Keeper) execute(fn kernel.SyscallFn, argv int) kernel.SyscallFn {
	return func(t *kernel.Task, nr uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		running := k.executing.Add(1)
		defer k.executing.Add(-1)
		if int(k.free())-k.reserve.Frames() >= execPlenty*int(running) {
			return fn(t, nr, args)
		}
		size := vectorBytes(t, args[argv].Pointer()) + vectorBytes(t, args[argv+1].Pointer())
		if size <= execSmall {
			return fn(t, nr, args)
		}
		if size/machine.PageSize > k.total/execFraction {
			return 0, nil, linuxerr.E2BIG
		}
		if err := k.execTurn(t); err != nil {
			return 0, nil, err
		}
		defer func() { k.exec <- struct{}{} }()
		pages := size * execCopies / machine.PageSize
		if !k.roomForKernel(pages) {
			return 0, nil, linuxerr.ENOMEM
		}
		defer k.reserve.Promise(pages)()
		return fn(t, nr, args)
	}
}

// execTurn waits until t may copy large arguments. Meanwhile it blocks: the others
// can have what it was promised for a moment.
func (k *Keeper) execTurn(t *kernel.Task) error {
	select {
	case <-k.exec:
		return nil
	default:
		return linuxerr.ConvertIntr(t.Block(k.exec), linuxerr.ERESTARTSYS)
	}
}

// roomForKernel makes room for the kernel's heap to grow by pages, without
// killing.
func (k *Keeper) roomForKernel(pages int) bool {
	if k.missing(pages) <= 0 {
		return true
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.reclaimCheap(pages) {
		return true
	}
	k.collect()
	return k.missing(pages) <= 0
}

// vectorBytes returns the size of a program's list of strings, as far as it can
// be read.
func vectorBytes(t *kernel.Task, addr hostarch.Addr) int {
	total := 0
	var word [8]byte
	for ; addr != 0 && total < execMost; addr += 8 {
		if _, err := t.CopyInBytes(addr, word[:]); err != nil {
			break
		}
		s := hostarch.Addr(hostarch.ByteOrder.Uint64(word[:]))
		if s == 0 {
			break
		}
		total += len(word) + stringBytes(t, s, execMost-total)
	}
	return total
}

// stringBytes returns the length of a program's string, at most limit.
func stringBytes(t *kernel.Task, addr hostarch.Addr, limit int) int {
	var buf [1024]byte
	for n := 0; n < limit; {
		got, _ := t.CopyInBytes(addr+hostarch.Addr(n), buf[:])
		if end := bytes.IndexByte(buf[:got], 0); end >= 0 {
			return n + end + 1
		}
		if n += got; got < len(buf) {
			return n
		}
	}
	return limit
}
