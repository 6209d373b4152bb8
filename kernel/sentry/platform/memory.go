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
// time; these come from between the reserve that Platform.SetReserve was given
// and metal's floor, below which lies what is for the kernel program's heap.
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
	// vectorPages are what a buffer of several is taken to have.
	vectorPages = 4

	// heldPages is from how many pages on a call's promise is kept for as long
	// as it blocks. That many threads block with a little in their hands is
	// what the reserve is for.
	heldPages = 16

	// free stands for a call that takes no memory, or gives some back.
	free = -1
)

// MoveLimit is how many bytes one system call moves at most without looking at
// memory again.
const MoveLimit = 512 << 10

// room reports whether there are frames for pages more.
func (c *taskContext) room(pages int) bool {
	return machine.FreeFrames()-int64(pages) > c.platform.reserve.Load()
}

// hold promises the system call that begins pages frames. It reports false if
// there are none: then the call must not begin.
func (c *taskContext) hold(ctx context.Context, pages int) bool {
	if !c.room(pages) && pages != free && c.platform.hooks.MakeRoom(ctx, pages+c.platform.promised()) {
		return false
	}
	if pages >= heldPages {
		c.promise(pages)
	}
	return true
}

// unhold ends the promise to the last system call.
func (c *taskContext) unhold() {
	if c.held != 0 {
		c.platform.reserve.Add(-int64(c.held))
		c.held = 0
	}
}

// roomForFault reports whether there are frames for a page fault. A copy has its
// room in the reserve, so it is promised, which leaves the reserve to others.
func (c *taskContext) roomForFault(ctx context.Context, code, addr uint64) bool {
	copied := 0
	if code&machine.FaultWrite != 0 && (c.room(pagesOfCopy) || c.platform.hooks.Shared(ctx, addr)) {
		copied = pagesOfCopy
	}
	if !c.room(pagesOfFault) && c.platform.hooks.MakeRoom(ctx, pagesOfFault+c.platform.promised()) {
		return false
	}
	c.promise(copied)
	return true
}

// promise keeps pages frames free for the task until it is back.
func (c *taskContext) promise(pages int) {
	c.held = pages
	c.platform.reserve.Add(int64(pages))
}

// pagesOfCall returns how many page frames a system call may take to move what
// it is asked to, as far as the registers tell.
func pagesOfCall(regs *machine.Registers) int {
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
