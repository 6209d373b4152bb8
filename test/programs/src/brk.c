// brk checks the program break: growth, zeroed pages, shrinking, limits.

#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>
#include <unistd.h>
#include "check.h"

enum { MB = 1 << 20 };

static sigjmp_buf escape;
static volatile int faulted;

static void on_fault(int sig)
{
	faulted = sig;
	siglongjmp(escape, 1);
}

int main(void)
{
	struct rlimit rl, tight;
	char *start = sbrk(0), *p;

	CHECK(start != (void *)-1);
	CHECK(sbrk(4 * MB) == start && sbrk(0) == start + 4 * MB);
	for (int i = 0; i < 4 * MB; i += 512)
		CHECK(start[i] == 0);
	memset(start, 0x5a, 4 * MB);
	CHECK(brk(start + MB) == 0);
	CHECK(start[MB - 1] == 0x5a);
	signal(SIGSEGV, on_fault);
	if (sigsetjmp(escape, 1) == 0)
		*(volatile char *)(start + 2 * MB) = 1;
	CHECK(faulted == SIGSEGV);
	CHECK(brk(start + 2 * MB) == 0);
	p = (char *)(((uintptr_t)start + MB + 4095) & ~(uintptr_t)4095);
	CHECK(*p == 0); // what was given back is zero again

	CHECK(getrlimit(RLIMIT_DATA, &rl) == 0);
	tight = rl;
	tight.rlim_cur = 8 * MB;
	CHECK(setrlimit(RLIMIT_DATA, &tight) == 0);
	CHECK(sbrk(64 * MB) == (void *)-1 && errno == ENOMEM);
	CHECK(setrlimit(RLIMIT_DATA, &rl) == 0);
	puts("brk: ok");
	return 0;
}
