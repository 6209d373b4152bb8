#include "textflag.h"
#include "go_asm.h"

// Entries into metal, and the ways out of it.
//
// Metal's Go code runs on a per-CPU stack, with interrupts off, R14 pointing
// to a zeroed g (whose stack guard of 0 keeps every prologue from calling
// morestack) and X15 zero. It is called through Go function values, whose code
// follows the internal ABI: arguments in AX, BX, CX, 64 bytes of spill space
// above the return address, all registers but SP, R14, X15 lost.

// Entries own BP, which vet's check of frame pointers cannot know; it does not
// look into macros.
#define SET_BP(v) MOVQ v, BP
#define POP_BP POPQ BP
#define CLEAR_BP XORL BP, BP
#define SUB_BP(n) SUBQ n, BP

#define GO_CONTEXT \
	LEAQ ·zeroG(SB), R14; \
	XORPS X15, X15

#define CALL_GO(fn) \
	MOVQ fn(SB), DX; \
	MOVQ (DX), R12; \
	SUBQ $64, SP; \
	CALL R12; \
	ADDQ $64, SP

#define SAVE_XMM(p) \
	STMXCSR const_fxMXCSR(p); \
	MOVUPS X0, (const_fxXMM+0)(p); \
	MOVUPS X1, (const_fxXMM+16)(p); \
	MOVUPS X2, (const_fxXMM+32)(p); \
	MOVUPS X3, (const_fxXMM+48)(p); \
	MOVUPS X4, (const_fxXMM+64)(p); \
	MOVUPS X5, (const_fxXMM+80)(p); \
	MOVUPS X6, (const_fxXMM+96)(p); \
	MOVUPS X7, (const_fxXMM+112)(p); \
	MOVUPS X8, (const_fxXMM+128)(p); \
	MOVUPS X9, (const_fxXMM+144)(p); \
	MOVUPS X10, (const_fxXMM+160)(p); \
	MOVUPS X11, (const_fxXMM+176)(p); \
	MOVUPS X12, (const_fxXMM+192)(p); \
	MOVUPS X13, (const_fxXMM+208)(p); \
	MOVUPS X14, (const_fxXMM+224)(p); \
	MOVUPS X15, (const_fxXMM+240)(p)

#define LOAD_XMM(p) \
	LDMXCSR const_fxMXCSR(p); \
	MOVUPS (const_fxXMM+0)(p), X0; \
	MOVUPS (const_fxXMM+16)(p), X1; \
	MOVUPS (const_fxXMM+32)(p), X2; \
	MOVUPS (const_fxXMM+48)(p), X3; \
	MOVUPS (const_fxXMM+64)(p), X4; \
	MOVUPS (const_fxXMM+80)(p), X5; \
	MOVUPS (const_fxXMM+96)(p), X6; \
	MOVUPS (const_fxXMM+112)(p), X7; \
	MOVUPS (const_fxXMM+128)(p), X8; \
	MOVUPS (const_fxXMM+144)(p), X9; \
	MOVUPS (const_fxXMM+160)(p), X10; \
	MOVUPS (const_fxXMM+176)(p), X11; \
	MOVUPS (const_fxXMM+192)(p), X12; \
	MOVUPS (const_fxXMM+208)(p), X13; \
	MOVUPS (const_fxXMM+224)(p), X14; \
	MOVUPS (const_fxXMM+240)(p), X15

// XSAVE64 and XRSTOR64 take the area in DI and the components in DX:AX.
#define XSAVE64_DI BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0x27
#define XRSTOR64_DI BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0x2f
#define VZEROUPPER_ BYTE $0xc5; BYTE $0xf8; BYTE $0x77

// Components to EDX:EAX; clobbers AX and DX.
#define COMPONENTS(field) \
	MOVQ field(GS), AX; \
	MOVQ AX, DX; \
	SHRQ $32, DX

#define RDFSBASE_AX BYTE $0xf3; BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0xc0
#define RDGSBASE_AX BYTE $0xf3; BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0xc8
#define WRFSBASE_AX BYTE $0xf3; BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0xd0
#define WRGSBASE_AX BYTE $0xf3; BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0xd8
#define RDFSBASE_DX BYTE $0xf3; BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0xc2
#define SYSRET64 BYTE $0x48; BYTE $0x0f; BYTE $0x07

// Registers into the structure that SP points to, all but RAX, RCX, R11, RSP
// and what the entry itself knows.
#define SAVE_GENERAL \
	MOVQ R15, registers_R15(SP); \
	MOVQ R14, registers_R14(SP); \
	MOVQ R13, registers_R13(SP); \
	MOVQ R12, registers_R12(SP); \
	MOVQ BP, registers_RBP(SP); \
	MOVQ BX, registers_RBX(SP); \
	MOVQ R10, registers_R10(SP); \
	MOVQ R9, registers_R9(SP); \
	MOVQ R8, registers_R8(SP); \
	MOVQ DX, registers_RDX(SP); \
	MOVQ SI, registers_RSI(SP); \
	MOVQ DI, registers_RDI(SP)

// _kiln_start is where the image's boot stub jumps to: long mode, boot page
// tables, interrupts off, DI = physical address of what the loader has to say,
// SI = bootinfo.MultibootMagic if that is Multiboot2's, 0 if it is PVH's.
TEXT _kiln_start(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	LEAQ ·bootStack(SB), SP
	ADDQ $const_bootStackSize, SP
	MOVQ DI, R13
	MOVQ SI, R11

	// SSE on: CR0.EM off, MP and NE on; CR4.OSFXSR and OSXMMEXCPT.
	MOVQ CR0, AX
	ANDQ $~(1<<2 | 1<<3), AX
	ORQ  $(1<<1 | 1<<5), AX
	MOVQ AX, CR0
	MOVQ CR4, AX
	ORQ  $(1<<9 | 1<<10), AX
	MOVQ AX, CR4

	GO_CONTEXT

	// FS: a word below it holds the g, for the wrappers of assembly
	// functions (only cpu.Init uses one).
	MOVQ R14, ·bootTLS(SB)
	LEAQ ·bootTLS(SB), AX
	ADDQ $8, AX
	MOVQ AX, DX
	SHRQ $32, DX
	MOVL $0xc0000100, CX // MSR FS base
	WRMSR

	// The addresses that Go has no other way to learn.
	LEAQ vectors<>(SB), AX
	MOVQ AX, ·vectorBase(SB)
	LEAQ syscallEntry<>(SB), AX
	MOVQ AX, ·syscallPC(SB)
	LEAQ idle<>(SB), AX
	MOVQ AX, ·idlePC(SB)
	LEAQ clockGettime<>(SB), AX
	MOVQ AX, ·vdsoPC(SB)

	MOVQ R13, AX
	MOVQ R11, BX
	CALL_GO(·bootFn)
	JMP  resume<>(SB)

// idle is the thread that runs when no other can.
TEXT idle<>(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
wait:
	STI
	HLT
	JMP wait

// syscallEntry is the target of SYSCALL (MSR LSTAR): CX = return address,
// R11 = RFLAGS, IF = 0, SP unchanged. Metal and the kernel program live in the
// upper half, programs in the lower, so the sign of CX tells the ring.
TEXT syscallEntry<>(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	TESTQ CX, CX
	JNS   program
	CMPQ  AX, $const_sysEnterUser
	JEQ   enter

	// A hostcall from ring 0.
	MOVQ SP, percpu_scratch(GS)
	MOVQ percpu_cur(GS), SP
	ADDQ $thread_regs, SP
	SAVE_GENERAL
	MOVQ AX, registers_RAX(SP)
	MOVQ AX, registers_OrigRAX(SP)
	MOVQ CX, registers_RIP(SP)
	MOVQ R11, registers_RFLAGS(SP)
	MOVQ $const_selKernelCode, registers_CS(SP)
	MOVQ $const_selKernelData, registers_SS(SP)
	MOVQ percpu_scratch(GS), AX
	MOVQ AX, registers_RSP(SP)
	MOVQ $const_kindCall, (thread_kind-thread_regs)(SP)
	LEAQ (-thread_regs)(SP), AX
	MOVQ percpu_handlerStack(GS), SP
	MOVQ $1, percpu_inHandler(GS)
	GO_CONTEXT
	CALL_GO(·hostcallFn)
	JMP  resume<>(SB)

enter:
	// EnterUser(DI = context). Runs on the caller's stack, which is not
	// touched; nothing can interrupt.
	MOVQ percpu_cur(GS), R9
	MOVQ userContext_Pending(DI), AX
	ORQ  percpu_irqPending(GS), AX
	JNZ  interrupted
	MOVQ userContext_Regs(DI), SI
	MOVQ registers_RIP(SI), AX
	SHRQ $47, AX
	JNZ  badRIP
	MOVQ SP, thread_kernRSP(R9)
	MOVQ BP, thread_kernRBP(R9)
	MOVQ R14, thread_kernR14(R9)
	MOVQ CX, thread_kernRIP(R9)
	MOVQ DI, thread_user(R9)
	MOVQ SI, AX
	JMP  loadUser<>(SB)

interrupted:
	MOVQ $0, userContext_Pending(DI)
	MOVQ $0, percpu_irqPending(GS)
	MOVQ $const_exitInterrupt, userContext_Vector(DI)
	XORL AX, AX
	STI
	JMP  CX

badRIP:
	// SYSRET and IRET would fault in ring 0 on a non-canonical address.
	MOVQ $const_vectorProtection, userContext_Vector(DI)
	MOVQ $0, userContext_ErrorCode(DI)
	XORL AX, AX
	STI
	JMP  CX

program:
	// A system call of the program: back to EnterUser's caller.
	SWAPGS
	MOVQ SP, percpu_scratch(GS)
	MOVQ percpu_userRegs(GS), SP
	SAVE_GENERAL
	MOVQ AX, registers_RAX(SP)
	MOVQ AX, registers_OrigRAX(SP)
	MOVQ CX, registers_RCX(SP)
	MOVQ CX, registers_RIP(SP)
	MOVQ R11, registers_R11(SP)
	MOVQ R11, registers_RFLAGS(SP)
	MOVQ $const_selUserCode, registers_CS(SP)
	MOVQ $const_selUserData, registers_SS(SP)
	MOVQ percpu_scratch(GS), AX
	MOVQ AX, registers_RSP(SP)
	RDFSBASE_AX
	MOVQ AX, registers_FSBase(SP)
	SWAPGS
	RDGSBASE_AX
	SWAPGS
	MOVQ AX, registers_GSBase(SP)
	MOVQ AX, percpu_userGS(GS)
	MOVQ percpu_userFP(GS), DI
	CMPQ percpu_xsave(GS), $0
	JNE  programXSAVE
	SAVE_XMM(DI)

programSaved:
	LDMXCSR percpu_mxcsr(GS)
	MOVQ percpu_user(GS), DI
	MOVQ $const_exitSyscall, userContext_Vector(DI)
	MOVQ percpu_cur(GS), R9
	XORL AX, AX
	MOVQ AX, percpu_user(GS)
	MOVQ AX, thread_user(R9)
	MOVQ thread_fsbase(R9), AX
	MOVQ AX, percpu_fsLoaded(GS) // resume may have come here from elsewhere
	WRFSBASE_AX
	SET_BP(thread_kernRBP(R9))
	MOVQ thread_kernR14(R9), R14
	MOVQ thread_kernRIP(R9), CX
	MOVQ thread_kernRSP(R9), SP
	XORPS X15, X15
	XORL AX, AX
	STI
	JMP  CX

programXSAVE:
	COMPONENTS(percpu_xcr0)
	XSAVE64_DI
	VZEROUPPER_
	JMP programSaved

// loadUser enters ring 3: AX = registers, DI = user context. Interrupts off.
TEXT loadUser<>(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	MOVQ AX, SI
	MOVQ DI, percpu_user(GS)
	MOVQ userContext_Regs(DI), AX
	MOVQ AX, percpu_userRegs(GS)
	MOVQ userContext_FP(DI), R8
	MOVQ R8, percpu_userFP(GS)
	MOVQ userContext_PT(DI), AX
	CMPQ AX, percpu_cr3(GS)
	JEQ  floating
	MOVQ AX, percpu_cr3(GS)
	MOVQ AX, CR3

floating:
	CMPQ percpu_xsave(GS), $0
	JNE  xrstor
	CMPQ percpu_x87(GS), DI
	JNE  loadX87
	LOAD_XMM(R8)

segments:
	MOVQ registers_FSBase(SI), AX
	WRFSBASE_AX
	MOVQ registers_GSBase(SI), AX
	CMPQ AX, percpu_userGS(GS)
	JEQ  flags
	MOVQ AX, percpu_userGS(GS)
	SWAPGS
	WRGSBASE_AX
	SWAPGS

flags:
	MOVQ registers_RFLAGS(SI), R11
	ANDQ $const_userFlags, R11
	ORQ  $const_alwaysFlags, R11
	MOVQ registers_RIP(SI), CX
	CMPQ CX, registers_RCX(SI)
	JNE  iret
	CMPQ R11, registers_R11(SI)
	JNE  iret
	TESTQ $(1<<8), R11 // a set TF would trap after SYSRET in ring 0 on some CPUs
	JNZ  iret

	MOVQ registers_R15(SI), R15
	MOVQ registers_R14(SI), R14
	MOVQ registers_R13(SI), R13
	MOVQ registers_R12(SI), R12
	SET_BP(registers_RBP(SI))
	MOVQ registers_RBX(SI), BX
	MOVQ registers_R10(SI), R10
	MOVQ registers_R9(SI), R9
	MOVQ registers_R8(SI), R8
	MOVQ registers_RDX(SI), DX
	MOVQ registers_RDI(SI), DI
	MOVQ registers_RAX(SI), AX
	MOVQ registers_RSP(SI), SP
	MOVQ registers_RSI(SI), SI
	SWAPGS
	SYSRET64

iret:
	MOVQ R11, registers_RFLAGS(SI)
	MOVQ $const_selUserCode, registers_CS(SI)
	MOVQ $const_selUserData, registers_SS(SI)
	MOVQ SI, SP
	SWAPGS
	JMP  popAndReturn<>(SB)

xrstor:
	MOVQ DI, R9
	MOVQ R8, DI
	COMPONENTS(percpu_xcr0)
	XRSTOR64_DI
	MOVQ R9, DI
	JMP  segments

loadX87:
	// SSE mode: the x87 state in the CPU is another context's, or
	// nobody's. Put it where it belongs, then load ours with the rest.
	MOVQ percpu_x87(GS), R9
	TESTQ R9, R9
	JZ   x87Free
	MOVQ percpu_fxScratch(GS), R10
	FXSAVE64 (R10)
	MOVQ userContext_FP(R9), R9
	CALL copyX87<>(SB)

x87Free:
	MOVQ DI, percpu_x87(GS)
	FXRSTOR64 (R8)
	JMP  segments

// copyX87 copies the x87 part of the FXSAVE image at R10 to the one at R9:
// bytes 0–23 and 32–159 (Intel SDM vol. 1 table 10-2). Clobbers AX, CX.
TEXT copyX87<>(SB), NOSPLIT|NOFRAME, $0
	MOVQ 0(R10), AX
	MOVQ AX, 0(R9)
	MOVQ 8(R10), AX
	MOVQ AX, 8(R9)
	MOVQ 16(R10), AX
	MOVQ AX, 16(R9)
	MOVL $32, CX

next:
	MOVQ (R10)(CX*1), AX
	MOVQ AX, (R9)(CX*1)
	ADDL $8, CX
	CMPL CX, $160
	JLT  next
	RET

// saveX87 writes the x87 state in the CPU to the FXSAVE image at AX, using
// the scratch image at BX. A Go function value leads here.
TEXT saveX87<>(SB), NOSPLIT|NOFRAME, $0
	MOVQ AX, R9
	MOVQ BX, R10
	FXSAVE64 (R10)
	JMP  copyX87<>(SB)

// func fillFloat()
TEXT ·fillFloat(SB), NOSPLIT, $0-0
	LEAQ saveX87<>(SB), AX
	MOVQ AX, ·saveX87PC(SB)
	RET

// resume runs thread AX, which the scheduler prepared.
TEXT resume<>(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	MOVQ AX, percpu_cur(GS)
	MOVQ percpu_tss(GS), CX
	LEAQ (thread_regs+registers_FSBase)(AX), DX
	MOVQ DX, taskState_ist1(CX)
	MOVQ thread_kind(AX), CX
	CMPQ CX, $const_kindUser
	JEQ  user
	MOVQ AX, BX
	MOVQ thread_fsbase(BX), AX
	CMPQ AX, percpu_fsLoaded(GS)
	JEQ  fsDone
	MOVQ AX, percpu_fsLoaded(GS)
	WRFSBASE_AX

fsDone:
	CMPQ CX, $const_kindCall
	JNE  trapped

	// A hostcall returns: no IRET needed, as only the ABI's registers count.
	LEAQ thread_regs(BX), SP
	MOVQ registers_R15(SP), R15
	MOVQ registers_R14(SP), R14
	MOVQ registers_R13(SP), R13
	MOVQ registers_R12(SP), R12
	SET_BP(registers_RBP(SP))
	MOVQ registers_RBX(SP), BX
	MOVQ registers_R10(SP), R10
	MOVQ registers_R9(SP), R9
	MOVQ registers_R8(SP), R8
	MOVQ registers_RDX(SP), DX
	MOVQ registers_RSI(SP), SI
	MOVQ registers_RDI(SP), DI
	MOVQ registers_RAX(SP), AX
	MOVQ registers_RIP(SP), CX
	MOVQ registers_RSP(SP), SP
	MOVQ $0, percpu_inHandler(GS)
	LDMXCSR percpu_mxcsr(GS)
	XORPS X15, X15
	STI // takes effect after the jump
	JMP CX

trapped:
	MOVQ thread_fp(BX), DI
	CMPQ percpu_xsave(GS), $0
	JNE  trappedXSAVE
	LOAD_XMM(DI)

trappedLoaded:
	LEAQ thread_regs(BX), SP
	MOVQ $0, percpu_inHandler(GS)
	JMP  popAndReturn<>(SB)

trappedXSAVE:
	COMPONENTS(percpu_kernelXCR0)
	XRSTOR64_DI
	JMP trappedLoaded

user:
	MOVQ $0, percpu_inHandler(GS)
	MOVQ thread_user(AX), DI
	ADDQ $thread_regs, AX
	JMP  loadUser<>(SB)

// popAndReturn resumes from the registers that SP points to.
TEXT popAndReturn<>(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	POPQ R15
	POPQ R14
	POPQ R13
	POPQ R12
	POP_BP
	POPQ BX
	POPQ R11
	POPQ R10
	POPQ R9
	POPQ R8
	POPQ AX
	POPQ CX
	POPQ DX
	POPQ SI
	POPQ DI
	ADDQ $8, SP // OrigRAX
	IRETQ

// PUSH_ALL completes the registers structure after the CPU pushed SS to RIP,
// an error code and the stub its vector, which it leaves in DI.
#define PUSH_ALL \
	XCHGQ DI, 0(SP); \
	PUSHQ SI; \
	PUSHQ DX; \
	PUSHQ CX; \
	PUSHQ AX; \
	PUSHQ R8; \
	PUSHQ R9; \
	PUSHQ R10; \
	PUSHQ R11; \
	PUSHQ BX; \
	PUSHQ BP; \
	PUSHQ R12; \
	PUSHQ R13; \
	PUSHQ R14; \
	PUSHQ R15; \
	CLD

// trap is the common entry of every vector but page fault, NMI, double fault
// and machine check. IST1 points into the current thread, so the registers
// are already where they belong.
TEXT trap<>(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	PUSH_ALL
	MOVQ  DI, BX
	TESTQ $3, registers_CS(SP)
	JZ    saved
	SWAPGS

saved:
	SET_BP(SP)
	SUB_BP($thread_regs)
	JMP  trapped<>(SB)

// trapped handles vector BX of thread BP, whose registers are saved and whose
// floating point state is still in the CPU. GS is metal's.
TEXT trapped<>(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	TESTQ $3, (thread_regs+registers_CS)(BP)
	JNZ   user
	MOVQ  $const_kindTrap, thread_kind(BP)
	MOVQ  thread_fp(BP), DI
	CMPQ  percpu_xsave(GS), $0
	JNE   kernelXSAVE
	SAVE_XMM(DI)
	JMP   handle

kernelXSAVE:
	COMPONENTS(percpu_kernelXCR0)
	XSAVE64_DI
	JMP handle

user:
	MOVQ $const_kindUser, thread_kind(BP)
	RDFSBASE_AX
	MOVQ AX, (thread_regs+registers_FSBase)(BP)
	MOVQ AX, percpu_fsLoaded(GS)
	SWAPGS
	RDGSBASE_AX
	SWAPGS
	MOVQ AX, (thread_regs+registers_GSBase)(BP)
	MOVQ AX, percpu_userGS(GS)
	MOVQ percpu_userFP(GS), DI
	CMPQ percpu_xsave(GS), $0
	JNE  userXSAVE
	SAVE_XMM(DI)

userSaved:
	LDMXCSR percpu_mxcsr(GS)

handle:
	MOVQ percpu_handlerStack(GS), SP
	MOVQ BP, AX
	MOVQ percpu_inHandler(GS), CX
	MOVQ $1, percpu_inHandler(GS)
	CLEAR_BP
	GO_CONTEXT
	CALL_GO(·trapFn) // (thread, vector, nested)
	JMP  resume<>(SB)

userXSAVE:
	COMPONENTS(percpu_xcr0)
	XSAVE64_DI
	VZEROUPPER_
	JMP userSaved

// pageFault has a stack of its own (IST2), because metal itself faults on the
// kernel program's lazily mapped memory. A fault that is resolved returns
// straight from here; else the fault becomes an ordinary trap of the thread.
TEXT pageFault<>(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	PUSH_ALL
	TESTQ $3, registers_CS(SP)
	JZ    saved
	SWAPGS

saved:
	MOVQ SP, BX
	SUBQ $512, SP
	ANDQ $~15, SP
	SAVE_XMM(SP)
	SET_BP(SP)
	MOVQ BX, AX
	MOVQ CR2, BX
	GO_CONTEXT
	PUSHQ AX
	PUSHQ BP
	CALL_GO(·pageFaultFn) // (registers, address) bool
	POP_BP
	POPQ SI
	LOAD_XMM(BP)
	TESTB AX, AX
	JZ   divert
	MOVQ SI, SP
	TESTQ $3, registers_CS(SP)
	JZ   return
	SWAPGS

return:
	JMP popAndReturn<>(SB)

divert:
	// Copy RIP…SS and the general registers to the thread.
	SET_BP(percpu_cur(GS))
	LEAQ thread_regs(BP), DI
	MOVL $((registers_SS+8)/8), CX
	REP; MOVSQ
	MOVL $const_vectorPageFault, BX
	JMP  trapped<>(SB)

// fatal is the entry for NMI, double fault and machine check, on IST3. GS may
// be either side's: a ring-0 GS base is negative.
TEXT fatal<>(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	PUSH_ALL
	RDGSBASE_AX
	TESTQ AX, AX
	JS    mine
	SWAPGS

mine:
	MOVQ SP, AX
	MOVQ DI, BX
	CLEAR_BP
	GO_CONTEXT
	CALL_GO(·fatalTrapFn) // (registers, vector), does not return

// One stub of 16 bytes for each vector: push an error code if the CPU did not,
// and the vector.
#define PLAIN(n) PCALIGN $16; BYTE $0x6a; BYTE $0; BYTE $0x6a; BYTE $n; JMP trap<>(SB)
#define CODED(n) PCALIGN $16; BYTE $0x6a; BYTE $n; JMP trap<>(SB)
#define PLAIN16(n) PLAIN(n); PLAIN(n+1); PLAIN(n+2); PLAIN(n+3); \
	PLAIN(n+4); PLAIN(n+5); PLAIN(n+6); PLAIN(n+7); \
	PLAIN(n+8); PLAIN(n+9); PLAIN(n+10); PLAIN(n+11); \
	PLAIN(n+12); PLAIN(n+13); PLAIN(n+14); PLAIN(n+15)

TEXT vectors<>(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	PLAIN(0)
	PLAIN(1)
	PCALIGN $16; BYTE $0x6a; BYTE $0; BYTE $0x6a; BYTE $2; JMP fatal<>(SB)
	PLAIN(3)
	PLAIN(4)
	PLAIN(5)
	PLAIN(6)
	PLAIN(7)
	PCALIGN $16; BYTE $0x6a; BYTE $8; JMP fatal<>(SB)
	PLAIN(9)
	CODED(10)
	CODED(11)
	CODED(12)
	CODED(13)
	PCALIGN $16; BYTE $0x6a; BYTE $14; JMP pageFault<>(SB)
	PLAIN(15)
	PLAIN(16)
	CODED(17)
	PCALIGN $16; BYTE $0x6a; BYTE $0; BYTE $0x6a; BYTE $18; JMP fatal<>(SB)
	PLAIN(19)
	PLAIN(20)
	CODED(21)
	PLAIN(22)
	PLAIN(23)
	PLAIN(24)
	PLAIN(25)
	PLAIN(26)
	PLAIN(27)
	PLAIN(28)
	CODED(29)
	CODED(30)
	PLAIN(31)
	PLAIN16(32)
	PLAIN16(48)
	PLAIN16(64)
	PLAIN16(80)

// clockGettime is what the vDSO offers the Go runtime: the C function
// clock_gettime(DI = clock, SI = *timespec), on any stack.
TEXT clockGettime<>(SB), NOSPLIT|NOFRAME, $0
	MOVQ ·clock+clockState_wallOffset(SB), R8
	CMPL DI, $0 // CLOCK_REALTIME
	JEQ  read
	CMPL DI, $5 // CLOCK_REALTIME_COARSE
	JEQ  read
	XORL R8, R8
	CMPL DI, $1 // CLOCK_MONOTONIC
	JEQ  read
	CMPL DI, $4 // CLOCK_MONOTONIC_RAW
	JEQ  read
	CMPL DI, $6 // CLOCK_MONOTONIC_COARSE
	JEQ  read
	CMPL DI, $7 // CLOCK_BOOTTIME
	JEQ  read
	MOVL $228, AX // SYS_clock_gettime
	SYSCALL
	RET

read:
	// ns = base + (TSC - tscBase) * mult >> 32
	LFENCE
	RDTSC
	SHLQ $32, DX
	ORQ  DX, AX
	SUBQ ·clock+clockState_tscBase(SB), AX
	MULQ ·clock+clockState_mult(SB)
	SHRQ $32, DX, AX
	ADDQ R8, AX
	XORL DX, DX
	MOVL $1000000000, CX
	DIVQ CX
	MOVQ AX, 0(SI)
	MOVQ DX, 8(SI)
	XORL AX, AX
	RET
