#include "textflag.h"

// The routines below take and return values in registers as Go's internal ABI
// does (arguments and results in AX, BX, CX, DI, SI; R14, X15 and BP kept),
// though the assembler calls them ABI0: see the package comment.

#define ENTRY(name, index) LEAQ name<>(SB), AX; MOVQ AX, ·code+(index*8)(SB)

// func fill()
TEXT ·fill(SB), NOSPLIT, $0-0
	ENTRY(in8, 0)
	ENTRY(in16, 1)
	ENTRY(in32, 2)
	ENTRY(out8, 3)
	ENTRY(out16, 4)
	ENTRY(out32, 5)
	ENTRY(readmsr, 6)
	ENTRY(writemsr, 7)
	ENTRY(readcr0, 8)
	ENTRY(readcr2, 9)
	ENTRY(readcr3, 10)
	ENTRY(readcr4, 11)
	ENTRY(writecr0, 12)
	ENTRY(writecr3, 13)
	ENTRY(writecr4, 14)
	ENTRY(readxcr0, 15)
	ENTRY(setxcr0, 16)
	ENTRY(invalidate, 17)
	ENTRY(cpuid, 18)
	ENTRY(tsc, 19)
	ENTRY(random, 20)
	ENTRY(clearpage, 21)
	ENTRY(copypage, 22)
	ENTRY(loadgdt, 23)
	ENTRY(loadidt, 24)
	ENTRY(loadtr, 25)
	ENTRY(halt, 26)
	ENTRY(pause, 27)
	ENTRY(fxsave, 28)
	ENTRY(readdr6, 29)
	ENTRY(writedr6, 30)
	ENTRY(loadldt, 31)
	RET

TEXT in8<>(SB), NOSPLIT|NOFRAME, $0
	MOVQ AX, DX
	XORL AX, AX
	INB
	RET

TEXT in16<>(SB), NOSPLIT|NOFRAME, $0
	MOVQ AX, DX
	XORL AX, AX
	INW
	RET

TEXT in32<>(SB), NOSPLIT|NOFRAME, $0
	MOVQ AX, DX
	INL
	RET

TEXT out8<>(SB), NOSPLIT|NOFRAME, $0
	MOVQ AX, DX
	MOVQ BX, AX
	OUTB
	RET

TEXT out16<>(SB), NOSPLIT|NOFRAME, $0
	MOVQ AX, DX
	MOVQ BX, AX
	OUTW
	RET

TEXT out32<>(SB), NOSPLIT|NOFRAME, $0
	MOVQ AX, DX
	MOVQ BX, AX
	OUTL
	RET

TEXT readmsr<>(SB), NOSPLIT|NOFRAME, $0
	MOVL AX, CX
	RDMSR
	SHLQ $32, DX
	MOVL AX, AX
	ORQ  DX, AX
	RET

TEXT writemsr<>(SB), NOSPLIT|NOFRAME, $0
	MOVL AX, CX
	MOVQ BX, AX
	MOVQ BX, DX
	SHRQ $32, DX
	WRMSR
	RET

TEXT readcr0<>(SB), NOSPLIT|NOFRAME, $0
	MOVQ CR0, AX
	RET

TEXT readcr2<>(SB), NOSPLIT|NOFRAME, $0
	MOVQ CR2, AX
	RET

TEXT readcr3<>(SB), NOSPLIT|NOFRAME, $0
	MOVQ CR3, AX
	RET

TEXT readcr4<>(SB), NOSPLIT|NOFRAME, $0
	MOVQ CR4, AX
	RET

TEXT writecr0<>(SB), NOSPLIT|NOFRAME, $0
	MOVQ AX, CR0
	RET

TEXT writecr3<>(SB), NOSPLIT|NOFRAME, $0
	MOVQ AX, CR3
	RET

TEXT writecr4<>(SB), NOSPLIT|NOFRAME, $0
	MOVQ AX, CR4
	RET

TEXT readxcr0<>(SB), NOSPLIT|NOFRAME, $0
	XORL CX, CX
	XGETBV
	SHLQ $32, DX
	MOVL AX, AX
	ORQ  DX, AX
	RET

TEXT setxcr0<>(SB), NOSPLIT|NOFRAME, $0
	XORL CX, CX
	MOVQ AX, DX
	SHRQ $32, DX
	BYTE $0x0f; BYTE $0x01; BYTE $0xd1 // XSETBV
	RET

TEXT invalidate<>(SB), NOSPLIT|NOFRAME, $0
	INVLPG (AX)
	RET

TEXT cpuid<>(SB), NOSPLIT|NOFRAME, $0
	MOVL BX, CX
	CPUID
	MOVL DX, DI
	RET

TEXT tsc<>(SB), NOSPLIT|NOFRAME, $0
	LFENCE
	RDTSC
	SHLQ $32, DX
	ORQ  DX, AX
	RET

TEXT random<>(SB), NOSPLIT|NOFRAME, $0
	MOVL $10, CX  // Intel SDM vol. 1 §7.3.17.1: retry ten times

again:
	BYTE $0x48; BYTE $0x0f; BYTE $0xc7; BYTE $0xf0 // RDRAND RAX
	JCS  done
	DECL CX
	JNZ  again
	XORL BX, BX
	RET

done:
	MOVL $1, BX
	RET

// Under TCG each round of a REP is a translation block of its own, so pages are
// cleared and copied by plain moves; on hardware the difference is small.

TEXT clearpage<>(SB), NOSPLIT|NOFRAME, $0
	XORPS X0, X0
	LEAQ  4096(AX), CX
clear:
	MOVUPS X0, (AX)
	MOVUPS X0, 16(AX)
	MOVUPS X0, 32(AX)
	MOVUPS X0, 48(AX)
	MOVUPS X0, 64(AX)
	MOVUPS X0, 80(AX)
	MOVUPS X0, 96(AX)
	MOVUPS X0, 112(AX)
	SUBQ   $-128, AX
	CMPQ   AX, CX
	JNE    clear
	RET

TEXT copypage<>(SB), NOSPLIT|NOFRAME, $0
	LEAQ 4096(AX), CX
copy:
	MOVUPS (BX), X0
	MOVUPS 16(BX), X1
	MOVUPS 32(BX), X2
	MOVUPS 48(BX), X3
	MOVUPS X0, (AX)
	MOVUPS X1, 16(AX)
	MOVUPS X2, 32(AX)
	MOVUPS X3, 48(AX)
	ADDQ   $64, AX
	ADDQ   $64, BX
	CMPQ   AX, CX
	JNE    copy
	RET

TEXT loadgdt<>(SB), NOSPLIT|NOFRAME, $0
	LGDT (AX)
	MOVW CX, SS
	MOVW CX, DS
	MOVW CX, ES
	POPQ DX                      // return address, for a far return
	MOVWQZX BX, BX
	PUSHQ BX
	PUSHQ DX
	BYTE $0x48; BYTE $0xcb       // RETFQ

TEXT loadidt<>(SB), NOSPLIT|NOFRAME, $0
	LIDT (AX)
	RET

TEXT loadldt<>(SB), NOSPLIT|NOFRAME, $0
	BYTE $0x0f; BYTE $0x00; BYTE $0xd0 // LLDT AX
	RET

TEXT loadtr<>(SB), NOSPLIT|NOFRAME, $0
	BYTE $0x0f; BYTE $0x00; BYTE $0xd8 // LTR AX
	RET

TEXT halt<>(SB), NOSPLIT|NOFRAME, $0
stop:
	CLI
	HLT
	JMP stop

TEXT pause<>(SB), NOSPLIT|NOFRAME, $0
	PAUSE
	RET

TEXT readdr6<>(SB), NOSPLIT|NOFRAME, $0
	BYTE $0x0f; BYTE $0x21; BYTE $0xf0 // MOV AX, DR6
	RET

TEXT writedr6<>(SB), NOSPLIT|NOFRAME, $0
	BYTE $0x0f; BYTE $0x23; BYTE $0xf0 // MOV DR6, AX
	RET

TEXT fxsave<>(SB), NOSPLIT|NOFRAME, $0
	FXSAVE64 (AX)
	RET
