package main

import (
	"kiln/image/bootinfo"
	"kiln/image/ending"
	"kiln/kernel/metal/cpu"
	"kiln/kernel/metal/raw"
	"kiln/kernel/metal/symbol"
)

// acpiControl is the PM1a control register (ACPI 6.5 §4.8.3.2) where SeaBIOS
// puts it on pc and q35, and acpiOff what turns these machines off: sleep type
// 0 in bits 10 to 12, and bit 13 to go there.
const (
	acpiControl = 0x604
	acpiOff     = 1 << 13
)

// exitMachine ends the virtual machine with a code of 7 bits. Where there is
// no debug exit device, a triple fault ends it: QEMU runs with -no-reboot.
// What a boot loader started would only start again, so it is turned off, or
// stands still.
func exitMachine(code uint8) {
	console.Flush()
	cpu.Out8(ending.Port, code)
	if standalone {
		cpu.Out16(acpiControl, acpiOff)
		cpu.Halt()
	}
	descriptor.limit, descriptor.base = 0, 0
	loadIDT(&descriptor.limit)
	tripleFault()
}

func loadIDT(p *uint16) { cpu.LoadIDT(raw.Addr(p)) }

// tripleFault faults with no interrupt table loaded.
func tripleFault() {
	cpu.Out8(0x64, 0xfe) // keyboard controller: reset, where there is one
	*raw.At[byte](0) = 0
	cpu.Halt()
}

// fatalBoot ends a boot that cannot succeed on this machine.
func fatalBoot(msg string) { fatalBoot2(msg, "") }

func fatalBoot2(msg, detail string) {
	print("kiln: cannot boot: ")
	print(msg)
	print(detail)
	print("\n")
	exitMachine(ending.NoBoot)
}

// fatalMemory ends the machine when not even the kernel can get a page frame.
// To blame is what touched the page, or else the hostcall of the current
// thread.
func fatalMemory() {
	c := thisCPU()
	if c.cur == nil {
		fatalBoot("not enough memory for the kernel program: give the machine more (kiln run -M)")
	}
	regs := &c.cur.regs
	if c.inFault {
		regs = c.faulting
	}
	report("out of memory", regs, nil)
	exitMachine(ending.NoMemory)
}

// fatalTrap is for exceptions that leave nothing to resume.
func fatalTrap(regs *registers, vector uint64) {
	what := "exception that leaves nothing to resume"
	if vector == cpu.VectorDoubleFault {
		what = "double fault (a stack overflow, as a rule)"
	}
	fatalException(what, regs, exception{vector, regs.OrigRAX, cpu.ReadCR2(), regs.RIP})
}

func fatalException(what string, regs *registers, e exception) {
	report(what, regs, &e)
	exitMachine(ending.Panic)
}

var reporting bool

// report prints what happened, the exception that is to blame, if one is, the
// registers, a traceback and the state of memory.
func report(what string, regs *registers, e *exception) {
	if reporting {
		print("kiln: another failure while reporting the first\n")
		exitMachine(ending.Panic)
	}
	reporting = true
	print("\nkiln: kernel panic: ")
	print(what)
	print("\n")
	if e != nil {
		print("exception: ")
		e.print()
	}
	printRegisters(regs)
	printTraceback(regs)
	printMemory()
}

// reportLast prints the exception that t last got a signal for, if it got one:
// of a Go traceback that begins with a signal it is the cause.
func reportLast(t *thread) {
	if t == nil || t.lastException == (exception{}) {
		return
	}
	print("last exception of this thread: ")
	t.lastException.print()
}

func printRegisters(r *registers) {
	names := [...]string{"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp",
		"r8 ", "r9 ", "r10", "r11", "r12", "r13", "r14", "r15", "rip", "flg", "cs ", "cr3"}
	values := [...]uint64{r.RAX, r.RBX, r.RCX, r.RDX, r.RSI, r.RDI, r.RBP, r.RSP,
		r.R8, r.R9, r.R10, r.R11, r.R12, r.R13, r.R14, r.R15, r.RIP, r.RFLAGS, r.CS, cpu.ReadCR3()}
	for i := range names {
		print(names[i])
		print(" ")
		printHex(values[i])
		if i%4 == 3 {
			print("\n")
		} else {
			print("  ")
		}
	}
}

// maxTraceback bounds a traceback, in frames.
const maxTraceback = 48

// printTraceback prints the innermost function and its caller, which the
// function tables find wherever it was interrupted, and from there follows the
// frame pointers, as far as they lead through mapped memory.
func printTraceback(r *registers) {
	if r.CS&3 != 0 {
		print("in the program (ring 3)\n")
		return
	}
	print("traceback:\n")
	printPC(r.RIP, 0)
	depth := 1
	table, text := functions(r.RIP)
	size, ok := symbol.FrameSize(table, text, r.RIP)
	ret := uintptr(r.RSP + size) // where the caller's address is
	// A frame pointer that leads there would show the caller once more.
	if ok && readable(ret) && uintptr(r.RBP)+8 != ret {
		printPC(*raw.At[uint64](ret), depth)
		depth++
	}
	fp := uintptr(r.RBP)
	for ; depth < maxTraceback; depth++ {
		if !readable(fp) || !readable(fp+8) {
			return
		}
		pc := *raw.At[uint64](fp + 8)
		next := *raw.At[uintptr](fp)
		if pc == 0 {
			return
		}
		printPC(pc, depth)
		if next <= fp {
			return
		}
		fp = next
	}
	print("  ...\n")
}

// readable reports whether there is a word of the kernel's at addr.
func readable(addr uintptr) bool {
	return addr&7 == 0 && int64(addr) < 0 && mapped(addr)
}

// functions returns the function table of the program that has code at pc, and
// the address of that program's text.
func functions(pc uint64) (table []byte, text uint64) {
	r, text := header.MetalFuncs, uint64(1<<64+bootinfo.MetalLinkText)
	if pc >= bootinfo.KernelBase {
		r, text = header.KernelFuncs, uint64(1<<64+bootinfo.KernelLinkText)
	}
	return raw.Bytes(uintptr(r.Addr), uintptr(r.Size)), text
}

func mapped(addr uintptr) bool {
	if kernelRoot == 0 {
		return false
	}
	_, ok := tables.Translate(kernelRoot, addr)
	return ok
}

func printPC(pc uint64, depth int) {
	lookup := pc
	if depth > 0 {
		lookup-- // a return address may belong to the next function
	}
	print("  ")
	printFunction(pc, lookup)
	print("\n")
}

// printFunction prints an address in code and the function that lookup, the
// same or just before, is in.
func printFunction(pc, lookup uint64) {
	printHex(pc)
	print("  ")
	table, text := functions(lookup)
	name, off := symbol.Find(table, text, lookup)
	if name == nil {
		print("?")
		return
	}
	console.Write(name)
	print("+")
	printHex(off + pc - lookup)
}

func printMemory() {
	s := frames.Stats()
	print("memory: ")
	printDecimal(s.Total * 4)
	print(" KB managed, ")
	printDecimal(s.Free * 4)
	print(" KB free, programs and files ")
	printDecimal(programFrames * 4)
	print(" KB, page tables ")
	printDecimal(tables.Count() * 4)
	print(" KB, image ")
	printDecimal(imageFrames * 4)
	print(" KB; promised ")
	printDecimal(promisedFrames * 4)
	print(" KB, below the floor ")
	printDecimal(belowFloor * 4)
	print(" KB; threads ")
	printDecimal(uint64(threadLive))
	print("\n")
}
