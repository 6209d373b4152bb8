// signals checks delivery on one thread: what the handler is told, on which
// stack it runs, masks, nesting, restart, and queued real-time signals.

#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>
#include "check.h"

// What handlers write is volatile: GCC takes raise and sigprocmask for leaf
// functions, in which no handler of ours could have run.
static volatile siginfo_t seen;
static volatile uintptr_t seen_stack;
static volatile sig_atomic_t calls;
static sigjmp_buf escape;

static void record(int sig, siginfo_t *si, void *uc)
{
	int here;

	(void)uc;
	(void)sig;
	seen = *si;
	seen_stack = (uintptr_t)&here;
	calls++;
}

static void record_and_escape(int sig, siginfo_t *si, void *uc)
{
	record(sig, si, uc);
	siglongjmp(escape, 1);
}

static void handle(int sig, void (*fn)(int, siginfo_t *, void *), int flags)
{
	struct sigaction sa = { .sa_sigaction = fn, .sa_flags = SA_SIGINFO | flags };

	CHECK(sigaction(sig, &sa, NULL) == 0);
}

static void faults(void)
{
	char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(page != MAP_FAILED);
	handle(SIGSEGV, record_and_escape, 0);
	handle(SIGFPE, record_and_escape, 0);
	handle(SIGILL, record_and_escape, 0);

	if (sigsetjmp(escape, 1) == 0)
		*(volatile char *)(page + 123) = 1;
	CHECK(seen.si_signo == SIGSEGV && seen.si_code == SEGV_ACCERR);
	CHECK(seen.si_addr == page + 123);

	CHECK(munmap(page, 4096) == 0);
	if (sigsetjmp(escape, 1) == 0)
		*(volatile char *)(page + 5);
	CHECK(seen.si_code == SEGV_MAPERR && seen.si_addr == page + 5);

	// A non-canonical address raises #GP, which has no fault address.
	if (sigsetjmp(escape, 1) == 0)
		*(volatile char *)0x8000000000000000 = 1;
	CHECK(seen.si_signo == SIGSEGV);

	volatile int zero = 0, one = 1;
	if (sigsetjmp(escape, 1) == 0)
		one = one / zero;
	CHECK(seen.si_signo == SIGFPE);

	if (sigsetjmp(escape, 1) == 0)
		__asm__ volatile("ud2");
	CHECK(seen.si_signo == SIGILL);

	// A privileged instruction and kernel memory are out of reach.
	if (sigsetjmp(escape, 1) == 0)
		__asm__ volatile("cli");
	CHECK(seen.si_signo == SIGSEGV);
	if (sigsetjmp(escape, 1) == 0)
		*(volatile char *)0xffffffffa0001000;
	CHECK(seen.si_signo == SIGSEGV);
	CHECK(calls == 7);
}

static void traps(void)
{
	handle(SIGTRAP, record, 0);
	calls = 0;
	__asm__ volatile("int3");
	CHECK(calls == 1 && seen.si_signo == SIGTRAP);
	// The trap flag raises SIGTRAP after the next instruction.
	__asm__ volatile("pushfq\n orq $0x100, (%%rsp)\n popfq\n nop\n"
			 "pushfq\n andq $~0x100, (%%rsp)\n popfq\n" ::: "memory", "cc");
	CHECK(calls >= 2 && seen.si_signo == SIGTRAP);
}

static void alternate_stack(void)
{
	enum { SIZE = 64 << 10 };
	char *mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	stack_t ss = { .ss_sp = mem, .ss_size = SIZE }, old;

	CHECK(mem != MAP_FAILED);
	CHECK(sigaltstack(&ss, NULL) == 0);
	handle(SIGUSR1, record, SA_ONSTACK);
	CHECK(raise(SIGUSR1) == 0);
	CHECK(seen_stack >= (uintptr_t)mem && seen_stack < (uintptr_t)mem + SIZE);
	handle(SIGUSR1, record, 0);
	CHECK(raise(SIGUSR1) == 0);
	CHECK(seen_stack < (uintptr_t)mem || seen_stack >= (uintptr_t)mem + SIZE);
	ss.ss_flags = SS_DISABLE;
	CHECK(sigaltstack(&ss, &old) == 0 && old.ss_sp == mem);
}

static volatile char trail[16];
static volatile int steps;
static volatile int outer_runs;

// on_outer is interrupted by SIGUSR2 at once, but by another SIGUSR1 only
// after it has returned, because a signal masks itself.
static void on_outer(int sig)
{
	(void)sig;
	trail[steps++] = '(';
	raise(SIGUSR2);
	if (outer_runs++ == 0)
		raise(SIGUSR1);
	trail[steps++] = ')';
}

static void on_inner(int sig)
{
	(void)sig;
	trail[steps++] = 'i';
}

static void nesting(void)
{
	struct sigaction outer = { .sa_handler = on_outer };
	struct sigaction inner = { .sa_handler = on_inner }, now;

	CHECK(sigaction(SIGUSR1, &outer, NULL) == 0);
	CHECK(sigaction(SIGUSR2, &inner, NULL) == 0);
	CHECK(raise(SIGUSR1) == 0);
	CHECK(strcmp((const char *)trail, "(i)(i)") == 0);

	inner.sa_flags = SA_RESETHAND;
	CHECK(sigaction(SIGUSR2, &inner, NULL) == 0);
	CHECK(raise(SIGUSR2) == 0);
	CHECK(sigaction(SIGUSR2, NULL, &now) == 0 && now.sa_handler == SIG_DFL);
}

static void masking(void)
{
	sigset_t block, old, pending;

	handle(SIGUSR1, record, 0);
	calls = 0;
	sigemptyset(&block);
	sigaddset(&block, SIGUSR1);
	CHECK(sigprocmask(SIG_BLOCK, &block, &old) == 0);
	CHECK(raise(SIGUSR1) == 0 && raise(SIGUSR1) == 0 && calls == 0);
	CHECK(sigpending(&pending) == 0 && sigismember(&pending, SIGUSR1));
	sigemptyset(&pending);
	CHECK(sigsuspend(&pending) == -1 && errno == EINTR);
	CHECK(calls == 1); // standard signals do not queue
	CHECK(sigprocmask(SIG_SETMASK, &old, NULL) == 0 && calls == 1);
}

static volatile int queued[3];

static void on_queued(int sig, siginfo_t *si, void *uc)
{
	record(sig, si, uc);
	queued[calls - 1] = si->si_value.sival_int;
}

static void realtime(void)
{
	sigset_t block, old;

	handle(SIGRTMIN + 3, on_queued, 0);
	calls = 0;
	sigemptyset(&block);
	sigaddset(&block, SIGRTMIN + 3);
	CHECK(sigprocmask(SIG_BLOCK, &block, &old) == 0);
	for (int i = 0; i < 3; i++)
		CHECK(sigqueue(getpid(), SIGRTMIN + 3, (union sigval){ .sival_int = 10 + i }) == 0);
	CHECK(sigprocmask(SIG_SETMASK, &old, NULL) == 0);
	CHECK(calls == 3 && queued[0] == 10 && queued[1] == 11 && queued[2] == 12);
	CHECK(seen.si_code == SI_QUEUE && seen.si_pid == getpid() && seen.si_uid == getuid());

	struct timespec zero = { 0, 0 };
	siginfo_t si;
	CHECK(sigprocmask(SIG_BLOCK, &block, &old) == 0);
	CHECK(sigtimedwait(&block, &si, &zero) == -1 && errno == EAGAIN);
	CHECK(sigqueue(getpid(), SIGRTMIN + 3, (union sigval){ .sival_int = 77 }) == 0);
	CHECK(sigwaitinfo(&block, &si) == SIGRTMIN + 3 && si.si_value.sival_int == 77);
	CHECK(sigprocmask(SIG_SETMASK, &old, NULL) == 0);
}

// restart: a read waits on a pipe that SIGALRM interrupts after 20 ms, and
// again while a busy machine has not let it return. With restart the read goes
// on until the second SIGALRM's handler writes.
static int pipe_fds[2];
static volatile int write_at_two;

static void on_alarm(int sig)
{
	(void)sig;
	if (++calls == 2 && write_at_two)
		CHECK(write(pipe_fds[1], "x", 1) == 1);
}

static void restart(void)
{
	struct sigaction sa = { .sa_handler = on_alarm };
	struct itimerval twice = { { 0, 20000 }, { 0, 20000 } }, never = { { 0, 0 }, { 0, 0 } };
	char c;

	CHECK(pipe(pipe_fds) == 0);
	calls = 0;
	CHECK(sigaction(SIGALRM, &sa, NULL) == 0);
	CHECK(setitimer(ITIMER_REAL, &twice, NULL) == 0);
	CHECK(read(pipe_fds[0], &c, 1) == -1 && errno == EINTR && calls >= 1);
	CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
	sa.sa_flags = SA_RESTART;
	CHECK(sigaction(SIGALRM, &sa, NULL) == 0);
	calls = 0;
	write_at_two = 1;
	CHECK(setitimer(ITIMER_REAL, &twice, NULL) == 0);
	CHECK(read(pipe_fds[0], &c, 1) == 1 && c == 'x');
	CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
}

// context checks that a handler sees and may change the interrupted registers.
static void on_context(int sig, siginfo_t *si, void *uc)
{
	(void)sig;
	(void)si;
	greg_t *r = ((ucontext_t *)uc)->uc_mcontext.gregs;
	if (r[REG_RBX] == 0x1122334455667788 && r[REG_R15] == -3)
		r[REG_RBX] = 42;
	r[REG_RIP] += 2; // past ud2
}

static void context(void)
{
	long rbx = 0x1122334455667788;
	register long r15 __asm__("r15") = -3;

	handle(SIGILL, on_context, 0);
	__asm__ volatile("ud2" : "+b"(rbx) : "r"(r15));
	CHECK(rbx == 42);
}

int main(void)
{
	faults();
	traps();
	alternate_stack();
	nesting();
	masking();
	realtime();
	restart();
	context();
	puts("signals: ok");
	return 0;
}
