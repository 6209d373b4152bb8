package main

import (
	"kiln/kernel/metal/cpu"
	"kiln/kernel/metal/linux"
	"kiln/kernel/metal/pagetable"
	"kiln/kernel/metal/raw"
)

// Interrupt vectors. 0–31 are the CPU's exceptions.
const (
	vectorTimer       = 0x20
	vectorFirstDevice = 0x30
	vectorLastDevice  = 0x5e
	vectorSpurious    = 0x5f // Intel SDM vol. 3A §10.9: low four bits set
	vectorCount       = 0x60
)

// The function values that assembly calls.
var (
	bootFn      = boot
	hostcallFn  = hostcall
	trapFn      = trap
	pageFaultFn = pageFault
	fatalTrapFn = fatalTrap
)

// trap handles an exception or interrupt of thread t, whose registers are
// saved, and returns the thread to resume. nested is 1 if the CPU was already
// in metal, which only a defect of metal's can cause.
func trap(t *thread, vector uint64, nested uint64) *thread {
	if nested != 0 {
		fatalException("exception in metal", &t.regs, exception{vector, t.regs.OrigRAX, faultAddr(vector), t.regs.RIP})
	}
	metalLock.Lock()
	switch {
	case vector == vectorTimer:
		timerFired()
		localAPIC.EndOfInterrupt()
		expireTimers()
	case vector == vectorSpurious:
	case vector >= vectorFirstDevice:
		deviceInterrupt(vector)
		localAPIC.EndOfInterrupt()
	case t.kind == kindUser:
		leaveUser(t, exitReason(vector), errorCode(t, vector), faultAddr(vector))
	default:
		kernelException(t, vector)
	}
	if t.kind == kindUser && thisCPU().irqPending != 0 {
		// The Go scheduler must look at the network: end EnterUser.
		thisCPU().irqPending = 0
		leaveUser(t, exitInterrupt, 0, 0)
	}
	next := schedule(t)
	metalLock.Unlock()
	return next
}

// exitReason is what EnterUser's caller is told of an exception.
func exitReason(vector uint64) uint64 {
	if vector == cpu.VectorPageFault && thisCPU().noMemory {
		return exitNoMemory
	}
	return vector
}

// errorCode returns what the CPU says of an exception beside its vector: DR6
// for a debug exception, else the error code that it pushed.
func errorCode(t *thread, vector uint64) uint64 {
	if vector != cpu.VectorDebug {
		return t.regs.OrigRAX
	}
	causes := cpu.ReadDR6()
	cpu.WriteDR6(cpu.DR6Initial)
	return causes
}

// faultAddr returns CR2 for a page fault, else 0.
func faultAddr(vector uint64) uint64 {
	if vector == cpu.VectorPageFault {
		return cpu.ReadCR2()
	}
	return 0
}

// leaveUser ends the EnterUser of a thread that was interrupted in ring 3: its
// registers go to the user context, and the thread is back in ring 0.
func leaveUser(t *thread, vector, errorCode, addr uint64) {
	u := t.user
	regs := raw.At[registers](u.Regs)
	origRAX := ^uint64(0) // not in a system call
	*regs = t.regs
	regs.OrigRAX = origRAX
	regs.DS, regs.ES, regs.FS, regs.GS = 0, 0, 0, 0
	u.Vector, u.ErrorCode, u.Addr = vector, errorCode, addr
	if vector == exitInterrupt {
		u.Pending = 0
	}
	dropUser(t)
	t.kind = kindCall
	t.regs.RIP = t.kernRIP
	t.regs.RSP = t.kernRSP
	t.regs.RBP = t.kernRBP
	t.regs.R14 = t.kernR14
	t.regs.RAX = 0
	t.regs.CS, t.regs.SS = selKernelCode, selKernelData
	t.regs.RFLAGS = alwaysFlags
}

// dropUser notes that t is no longer in ring 3.
func dropUser(t *thread) {
	if c := thisCPU(); c.user != nil && c.user == t.user {
		c.user = nil
	}
	t.user = nil
}

// kernelException turns an exception of the kernel program into the signal
// that its Go runtime expects.
func kernelException(t *thread, vector uint64) {
	e := exception{vector, t.regs.OrigRAX, faultAddr(vector), t.regs.RIP}
	switch vector {
	case cpu.VectorDivide:
		faultSignal(t, e, linux.SIGFPE, linux.FPE_INTDIV, t.regs.RIP)
	case cpu.VectorX87, cpu.VectorSIMD:
		faultSignal(t, e, linux.SIGFPE, linux.FPE_FLTINV, t.regs.RIP)
	case cpu.VectorDebug:
		faultSignal(t, e, linux.SIGTRAP, linux.TRAP_TRACE, t.regs.RIP)
	case cpu.VectorBreakpoint:
		faultSignal(t, e, linux.SIGTRAP, linux.SI_KERNEL, 0)
	case cpu.VectorInvalidOpcode:
		faultSignal(t, e, linux.SIGILL, linux.ILL_ILLOPN, t.regs.RIP)
	case cpu.VectorAlignment:
		faultSignal(t, e, linux.SIGBUS, linux.BUS_ADRALN, 0)
	case cpu.VectorPageFault:
		pageFaultSignal(t, e)
	default: // general protection, non-canonical addresses
		faultSignal(t, e, linux.SIGSEGV, linux.SI_KERNEL, 0)
	}
}

// pageFaultSignal delivers the signal for a page fault that metal did not settle.
func pageFaultSignal(t *thread, e exception) {
	addr := uintptr(e.addr)
	switch {
	case addr >= memfdBase && addr < memfdLimit:
		// Past the end of the file, or no memory for the page: what
		// Linux says for a mapped file, and gVisor expects.
		faultSignal(t, e, linux.SIGBUS, linux.BUS_ADRERR, e.addr)
	default:
		code := int32(linux.SEGV_MAPERR)
		if _, ok := regions.Find(addr); ok {
			code = linux.SEGV_ACCERR
		}
		faultSignal(t, e, linux.SIGSEGV, code, e.addr)
	}
}

// pageFault tries to resolve a page fault at addr and reports whether it did.
// It runs on its own stack, under the lock of the entry it interrupted if that
// was metal itself.
func pageFault(regs *registers, addr uint64) bool {
	c := thisCPU()
	inMetal := c.inHandler != 0
	if c.inFault {
		fatalException("page fault in the page fault handler", regs, exception{cpu.VectorPageFault, regs.OrigRAX, addr, regs.RIP})
	}
	if !inMetal {
		metalLock.Lock()
	}
	c.inFault, c.faulting = true, regs
	c.noMemory = false // userFault sets it; a protection fault is another matter
	ok := false
	code := regs.OrigRAX
	switch {
	case code&cpu.FaultPresent != 0:
		// A protection fault: nothing to bring in, unless the TLB was
		// behind.
	case regs.CS&3 != 0:
		ok = userFault(c, uintptr(addr), code)
	case int64(addr) < 0:
		ok = kernelFault(uintptr(addr), code&cpu.FaultWrite != 0)
	}
	c.inFault = false
	if !inMetal {
		metalLock.Unlock()
	} else if !ok {
		fatalException("page fault in metal", regs, exception{cpu.VectorPageFault, code, addr, regs.RIP})
	}
	return ok
}

// userFault brings in a page that a program's page table promises. If there is
// no memory it leaves the fault to EnterUser's caller.
func userFault(c *percpu, addr uintptr, code uint64) bool {
	e, _ := tables.Lookup(frameOf(c.cr3), addr)
	if e == nil || !e.IsLazy() {
		return false
	}
	if code&cpu.FaultWrite != 0 && *e&pagetable.Writable == 0 ||
		code&cpu.FaultFetch != 0 && *e&pagetable.NoExecute != 0 {
		return false
	}
	if frames.FreeFrames() <= userReserve+promisedFrames || !fillLazy(e) {
		c.noMemory = true
		return false
	}
	fillAround(addr)
	return true
}

// fillLazy replaces a lazy entry by the page frame that it promises.
func fillLazy(e *pagetable.Entry) bool {
	va := e.LazyAddr()
	k, size := tables.Lookup(kernelRoot, va)
	if k == nil || *k&pagetable.Present == 0 {
		if !kernelFault(va, true) {
			return false
		}
		k, size = tables.Lookup(kernelRoot, va)
	}
	phys := k.Addr()&^uint64(size-1) | uint64(va&(size-1))&^0xfff
	*e = pagetable.Entry(phys) | e.LazyFlags()
	return true
}

// faultAround is how many bytes, aligned, a program's fault brings in: the
// faults that this saves cost more than the pages that it wastes.
const faultAround = 16 << 10

// fillAround brings in the lazy neighbours of addr while memory is plentiful.
func fillAround(addr uintptr) {
	if frames.FreeFrames() < plentyFrames {
		return
	}
	start := addr &^ (faultAround - 1)
	e, size := tables.Lookup(frameOf(thisCPU().cr3), start)
	if e == nil || size != 4096 {
		return
	}
	for i := range uintptr(faultAround / 4096) {
		n := entryAt(e, i)
		if n.IsLazy() && !fillLazy(n) {
			return
		}
	}
}
