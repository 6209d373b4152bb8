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
	// pagesOfTask is kept for as long as a task lives: its stack in the Sentry grows
	// when it first runs, and to end it, or make another, the Sentry copies lists of
	// all that map the same file.
	pagesOfTask = 4
	// fewestCopies is how many copies there is to be room for before a call is
	// promised none, where there are fewer tasks.
	fewestCopies = 4
	// vectorPages are what a buffer of several is taken to have.
	vectorPages = 4

	// heldPages is from how many pages on a call's promise is kept for as long
	// as it blocks. That many threads block with a little in their hands is
	// what the reserve is for.
	heldPages = 16
)

// MoveLimit is how many bytes one system call moves at most without looking at
// memory again.
const MoveLimit = 512 << 10

// hold promises the system call that begins the frames that it may take. It
// reports false if there are none: then the call must not begin.
//
// Every call comes through here. Nearly all take a few pages while there are
// plenty, so that case is decided first and by little.
func (c *taskContext) hold(ctx context.Context, regs *machine.Registers) bool {
	if c.platform.reserve.isAmple() {
		k := takingOf(regs.RAX)
		if k < moves || k == moves && regs.RDX < heldPages*machine.PageSize || k.pages(regs) < heldPages {
			return true
		}
	}
	return c.holdMany(ctx, regs)
}

// holdMany is hold for a call that takes many pages, or while there are few.
func (c *taskContext) holdMany(ctx context.Context, regs *machine.Registers) bool {
	r := c.platform.reserve
	if !r.isAmple() {
		r.scarce.Store(true)
	}
	kind := takingOf(regs.RAX)
	if kind == gives {
		return true
	}
	pages := kind.pages(regs)
	short := !r.plenty(pages)
	if pages < heldPages && !short {
		return true
	}
	p, need := promise{}, pages
	switch {
	case kind == clones: // it writes the new task's number to both
		if short && c.platform.hooks.NoTask(ctx) {
			return true
		}
		need += r.crowd()
		p.moment = need + pagesOfCopy
	case kind == executes:
		need += r.crowd()
		p.call = need
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
	if c.held.call|c.held.moment != 0 {
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
func IsClone(nr uint64) bool { return takingOf(nr) == clones }

// A taking says how many page frames a system call may take to move what it is
// asked to, and what tells that.
type taking uint8

const (
	few   taking = iota // some at a time
	gives               // none, or it gives some back

	// Those that may take many.
	moves    // as many bytes as the third argument says
	fourth   // or the fourth
	fifth    // or the fifth
	second   // or the second
	vectors  // as many buffers as the third argument says
	clones   // what a task needs
	executes // what a program needs
	most     // more than the registers tell
)

// takings are the calls of which more is known than that they take a few pages.
var takings = [...]taking{
	unix.SYS_READ: moves, unix.SYS_WRITE: moves, unix.SYS_PREAD64: moves, unix.SYS_PWRITE64: moves,
	unix.SYS_RECVFROM: moves, unix.SYS_SENDTO: moves,

	unix.SYS_READV: vectors, unix.SYS_WRITEV: vectors, unix.SYS_PREADV: vectors, unix.SYS_PWRITEV: vectors,
	unix.SYS_PREADV2: vectors, unix.SYS_PWRITEV2: vectors,

	unix.SYS_SENDFILE: fourth, unix.SYS_COPY_FILE_RANGE: fifth, unix.SYS_SPLICE: fifth, unix.SYS_GETRANDOM: second,

	unix.SYS_CLONE: clones, unix.SYS_CLONE3: clones, unix.SYS_FORK: clones, unix.SYS_VFORK: clones,

	unix.SYS_EXECVE: executes, unix.SYS_EXECVEAT: executes, unix.SYS_PROCESS_VM_READV: most, unix.SYS_PROCESS_VM_WRITEV: most,
	unix.SYS_RECVMMSG: most, unix.SYS_SENDMMSG: most, unix.SYS_VMSPLICE: most, unix.SYS_IO_SUBMIT: most,

	unix.SYS_EXIT: gives, unix.SYS_EXIT_GROUP: gives, unix.SYS_MUNMAP: gives, unix.SYS_CLOSE: gives, unix.SYS_KILL: gives,
	unix.SYS_WAIT4: gives, unix.SYS_WAITID: gives, unix.SYS_FUTEX: gives, unix.SYS_RT_SIGRETURN: gives,
	unix.SYS_UNLINK: gives, unix.SYS_UNLINKAT: gives, unix.SYS_TRUNCATE: gives, unix.SYS_FTRUNCATE: gives,
	unix.SYS_UMOUNT2: gives, unix.SYS_SHMCTL: gives, unix.SYS_SCHED_YIELD: gives, unix.SYS_TGKILL: gives,
}

// takingOf returns what is known of system call nr.
func takingOf(nr uint64) taking {
	if nr < uint64(len(takings)) {
		return takings[nr]
	}
	return few
}

// pages returns how many page frames a call of kind k may take, as far as the
// registers tell.
func (k taking) pages(regs *machine.Registers) int {
	switch k {
	case moves:
		return int(min(regs.RDX>>12, pagesOfMove))
	case vectors:
		return min(int(regs.RDX&0xffff)*vectorPages, pagesOfMove)
	case fourth:
		return int(min(regs.R10>>12, pagesOfMove))
	case fifth:
		return int(min(regs.R8>>12, pagesOfMove))
	case second:
		return int(min(regs.RSI>>12, pagesOfMove))
	case clones:
		return pagesOfClone
	case executes, most:
		return pagesOfMove
	}
	return 0
}
