// deep uses the whole stack: recursion through 6 MB of it, an overflow caught
// on the alternate stack, and the same in a thread.

#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>
#include "check.h"

enum { FRAME = 1024 };

static sigjmp_buf escape;
static volatile int overflows;

// descend keeps FRAME bytes on the stack at every level and checks them on
// the way back.
__attribute__((noinline)) static int descend(int levels)
{
	volatile char room[FRAME];

	room[0] = room[FRAME - 1] = (char)levels;
	int sum = levels > 0 ? descend(levels - 1) : 0;
	CHECK(room[0] == (char)levels && room[FRAME - 1] == (char)levels);
	return sum + 1;
}

static void on_overflow(int sig)
{
	(void)sig;
	overflows++;
	siglongjmp(escape, 1);
}

static void *overflow(void *arg)
{
	static char alt[2][64 << 10];
	stack_t ss = { .ss_sp = alt[arg != NULL], .ss_size = sizeof alt[0] };

	CHECK(sigaltstack(&ss, NULL) == 0);
	if (sigsetjmp(escape, 1) == 0)
		descend(1 << 30);
	return NULL;
}

int main(void)
{
	struct sigaction sa = { .sa_handler = on_overflow, .sa_flags = SA_ONSTACK };
	pthread_t t;

	CHECK(descend(6 * 1024) == 6 * 1024 + 1);
	CHECK(sigaction(SIGSEGV, &sa, NULL) == 0);
	overflow(NULL);
	CHECK(overflows == 1);
	CHECK(pthread_create(&t, NULL, overflow, (void *)1) == 0);
	CHECK(pthread_join(t, NULL) == 0 && overflows == 2);
	CHECK(descend(1024) == 1025);
	puts("deep: ok");
	return 0;
}
