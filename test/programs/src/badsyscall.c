// badsyscall calls system calls that do not exist: each must fail with
// ENOSYS and leave every other register alone.

#include <sys/syscall.h>
#include <unistd.h>
#include "check.h"

// kept calls nr and reports whether the registers that a system call must
// preserve (System V ABI, appendix A.2.1) were preserved.
static long kept(long nr, int *same)
{
	unsigned long rbx = 1, r12 = 2, r13 = 3, r14 = 4, r15 = 5, rdi = 6, rsi = 7, rdx = 8;
	register unsigned long r8 __asm__("r8") = 9, r9 __asm__("r9") = 10, r10 __asm__("r10") = 11;
	register unsigned long v12 __asm__("r12") = r12, v13 __asm__("r13") = r13;
	register unsigned long v14 __asm__("r14") = r14, v15 __asm__("r15") = r15;

	__asm__ volatile("syscall"
			 : "+a"(nr), "+b"(rbx), "+D"(rdi), "+S"(rsi), "+d"(rdx),
			   "+r"(r8), "+r"(r9), "+r"(r10), "+r"(v12), "+r"(v13),
			   "+r"(v14), "+r"(v15)
			 :
			 : "rcx", "r11", "memory");
	*same = rbx == 1 && v12 == 2 && v13 == 3 && v14 == 4 && v15 == 5 &&
		rdi == 6 && rsi == 7 && rdx == 8 && r8 == 9 && r9 == 10 && r10 == 11;
	return nr;
}

int main(void)
{
	// Numbers above Linux's table, and those that metal gives to its own
	// hostcalls: a program must not reach them.
	static const long numbers[] = { 9999, 100000, 0x4b000001, 0x4b000004, 0x7fffffff };

	for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		int same;
		errno = 0;
		CHECK(syscall(numbers[i]) == -1 && errno == ENOSYS);
		CHECK(kept(numbers[i], &same) == -ENOSYS);
		CHECK(same);
	}
	puts("badsyscall: ok");
	return 0;
}
