#include "textflag.h"

// func enterUser(ctx *abi.UserContext)
TEXT ·enterUser(SB), NOSPLIT, $0-8
	MOVQ ctx+0(FP), DI
	MOVL $0x4b000001, AX // abi.SysEnterUser; TestEnterNumber compares them
	SYSCALL
	RET

// func Fence()
TEXT ·Fence(SB), NOSPLIT, $0-0
	MFENCE
	RDTSC // for TCG, see Fence's comment
	RET

// Port input and output: 16-bit port in DX, data in EAX.

// func In32(port uint16) uint32
TEXT ·In32(SB), NOSPLIT, $0-12
	MOVW port+0(FP), DX
	INL
	MOVL AX, ret+8(FP)
	RET

// func Out32(port uint16, v uint32)
TEXT ·Out32(SB), NOSPLIT, $0-8
	MOVW port+0(FP), DX
	MOVL v+4(FP), AX
	OUTL
	RET
