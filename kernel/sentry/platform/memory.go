package platform

import (
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/context"

	"kiln/kernel/machine"
)

// The Sentry touches programs' pages where nothing can make it wait: in the
// middle of a system call, or of a copy after fork, with locks held. So a task
// asks before it enters the Sentry whether there are frames for what it may do
// there, and if not, waits outside while memory is freed.
//
// What a call may take at most is known for those that take much: they move
// data between a program and a file. Everything else takes a few pages at a
// time; these come from between the reserve and metal's
// floor, below which lies what is for the kernel program's heap.
const (
	// pagesOfFault is for a page fault that copies nothing: page tables,
	// and what a file's page is read into.
	pagesOfFault = 16
	// pagesOfCopy is for a write to a page that is another process's, too, or a
	// file's. The Sentry copies up to a huge page.
	pagesOfCopy = mapUnit/machine.PageSize + pagesOfFault

	// pagesOfMove bounds what a call is promised for moving data: package
	// sentry/memory has longer calls done in such pieces.
	pagesOfMove = MoveLimit/machine.PageSize + pagesOfFault
	// pagesOfClone is what a new task takes: its stack in the Sentry, what the
	// Sentry knows of it, and its page tables.
	pagesOfClone = 40
	// vectorPages are what a buffer of several is taken to have.
	vectorPages = 4

	// heldPages is from how many pages on a call's promise is kept for as long
	// as it blocks. That many threads block with a little in their hands is
	// what the reserve is for.
	heldPages = 16

	// plenty is how many pages more than a call takes make it unlikely that the
	// copies of several together are too much. Below, any call is promised one.
	plenty = 4 * pagesOfCopy

	// free stands for a call that takes no memory, or gives some back.
	free = -1
)

// MoveLimit is how many bytes one system call moves at most without looking at
// memory again.
const MoveLimit = 512 << 10

// hold promises the system call that begins the frames that it may take. It
// reports false if there are none: then the call must not begin.
func (c *taskContext) hold(ctx context.Context, regs *machine.Registers) bool {
	pages := pagesOfCall(regs)
	short := !c.platform.reserve.room(pages + plenty)
	if pages == free || pages < heldPages && !short {
		return true
	}
	p, need := promise{}, pages
	switch {
	case IsClone(regs.RAX):
		p.moment = pages
	case pages >= heldPages:
		p.call = pages
	}
	if short {
		p.moment += pagesOfCopy
		need += pagesOfFault
	}
	return c.keep(ctx, p, need)
}

// holdForFault is hold for a page fault.
func (c *taskContext) holdForFault(ctx context.Context, code uint64) bool {
	var p promise
	if code&machine.FaultWrite != 0 {
		p.moment = pagesOfCopy
	}
	return c.keep(ctx, p, pagesOfFault)
}

// keep has p kept for the task, if there is room for need frames: a copy has its
// room in the reserve.
func (c *taskContext) keep(ctx context.Context, p promise, need int) bool {
	for !c.platform.reserve.keep(p, need) {
		if c.platform.hooks.MakeRoom(ctx, need) {
			return false
		}
	}
	c.held = p
	return true
}

// unhold ends what the task was promised.
func (c *taskContext) unhold() {
	if c.held != (promise{}) {
		c.platform.reserve.end(c.held)
		c.held = promise{}
	}
}

// blocks ends what it was promised for a moment.
func (c *taskContext) blocks() {
	if c.held.moment != 0 {
		c.platform.reserve.end(promise{moment: c.held.moment})
		c.held.moment = 0
	}
}

// IsClone reports whether a system call makes a task.
func IsClone(nr uint64) bool {
	return nr == unix.SYS_CLONE || nr == unix.SYS_CLONE3 || nr == unix.SYS_FORK || nr == unix.SYS_VFORK
}

// pagesOfCall returns how many page frames a system call may take to move what
// it is asked to, as far as the registers tell.
func pagesOfCall(regs *machine.Registers) int {
	if IsClone(regs.RAX) {
		return pagesOfClone
	}
	switch regs.RAX {
	case unix.SYS_READ, unix.SYS_WRITE, unix.SYS_PREAD64, unix.SYS_PWRITE64, unix.SYS_RECVFROM, unix.SYS_SENDTO:
		return int(min(regs.RDX>>12, pagesOfMove))
	case unix.SYS_READV, unix.SYS_WRITEV, unix.SYS_PREADV, unix.SYS_PWRITEV, unix.SYS_PREADV2, unix.SYS_PWRITEV2:
		return min(int(regs.RDX&0xffff)*vectorPages, pagesOfMove)
	case unix.SYS_SENDFILE:
		return int(min(regs.R10>>12, pagesOfMove))
	case unix.SYS_COPY_FILE_RANGE, unix.SYS_SPLICE:
		return int(min(regs.R8>>12, pagesOfMove))
	case unix.SYS_GETRANDOM:
		return int(min(regs.RSI>>12, pagesOfMove))
	case unix.SYS_EXECVE, unix.SYS_EXECVEAT, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV,
		unix.SYS_RECVMMSG, unix.SYS_SENDMMSG, unix.SYS_VMSPLICE, unix.SYS_IO_SUBMIT:
		return pagesOfMove
	case unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_MUNMAP, unix.SYS_CLOSE, unix.SYS_KILL, unix.SYS_WAIT4,
		unix.SYS_WAITID, unix.SYS_FUTEX, unix.SYS_RT_SIGRETURN, unix.SYS_UNLINK, unix.SYS_UNLINKAT, unix.SYS_TRUNCATE,
		unix.SYS_FTRUNCATE, unix.SYS_UMOUNT2, unix.SYS_SHMCTL, unix.SYS_SCHED_YIELD, unix.SYS_TGKILL:
		return free
	}
	return 0
}
