// fpu checks that x87, SSE and AVX state survives system calls, signals and
// preemption while several threads use all of it at once.

#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>
#include "check.h"

enum { THREADS = 4, VECTORS = 16, LANES = 4, X87 = 8 };

// hold fills the vector registers, the x87 stack, MXCSR and the x87 control
// word from in, makes n system calls (getpid) or spins n times, and writes
// back what the registers hold then.
struct state {
	uint64_t vec[VECTORS][LANES];
	double x87[X87];
	uint32_t mxcsr;
	uint16_t fcw;
};

#define LOAD_ALL(mov, reg)                                          \
	mov " 0*32(%[in])," reg "0\n" mov " 1*32(%[in])," reg "1\n"     \
	mov " 2*32(%[in])," reg "2\n" mov " 3*32(%[in])," reg "3\n"     \
	mov " 4*32(%[in])," reg "4\n" mov " 5*32(%[in])," reg "5\n"     \
	mov " 6*32(%[in])," reg "6\n" mov " 7*32(%[in])," reg "7\n"     \
	mov " 8*32(%[in])," reg "8\n" mov " 9*32(%[in])," reg "9\n"     \
	mov " 10*32(%[in])," reg "10\n" mov " 11*32(%[in])," reg "11\n" \
	mov " 12*32(%[in])," reg "12\n" mov " 13*32(%[in])," reg "13\n" \
	mov " 14*32(%[in])," reg "14\n" mov " 15*32(%[in])," reg "15\n"

#define STORE_ALL(mov, reg)                                             \
	mov " " reg "0, 0*32(%[out])\n" mov " " reg "1, 1*32(%[out])\n"     \
	mov " " reg "2, 2*32(%[out])\n" mov " " reg "3, 3*32(%[out])\n"     \
	mov " " reg "4, 4*32(%[out])\n" mov " " reg "5, 5*32(%[out])\n"     \
	mov " " reg "6, 6*32(%[out])\n" mov " " reg "7, 7*32(%[out])\n"     \
	mov " " reg "8, 8*32(%[out])\n" mov " " reg "9, 9*32(%[out])\n"     \
	mov " " reg "10, 10*32(%[out])\n" mov " " reg "11, 11*32(%[out])\n" \
	mov " " reg "12, 12*32(%[out])\n" mov " " reg "13, 13*32(%[out])\n" \
	mov " " reg "14, 14*32(%[out])\n" mov " " reg "15, 15*32(%[out])\n"

// The eight x87 registers are loaded last to first, so ST(0) is x87[0].
#define LOAD_X87                                               \
	"fninit\n"                                             \
	"fldl 56(%[x87])\n fldl 48(%[x87])\n fldl 40(%[x87])\n" \
	"fldl 32(%[x87])\n fldl 24(%[x87])\n fldl 16(%[x87])\n" \
	"fldl 8(%[x87])\n fldl 0(%[x87])\n"                     \
	"fldcw %[fcw]\n ldmxcsr %[mxcsr]\n"
#define STORE_X87                                                    \
	"fnstcw %[ofcw]\n stmxcsr %[omxcsr]\n"                       \
	"fstpl 0(%[ox87])\n fstpl 8(%[ox87])\n fstpl 16(%[ox87])\n"  \
	"fstpl 24(%[ox87])\n fstpl 32(%[ox87])\n fstpl 40(%[ox87])\n" \
	"fstpl 48(%[ox87])\n fstpl 56(%[ox87])\n fninit\n"

#define CALL_GETPID "1: mov $39, %%eax\n syscall\n dec %[n]\n jnz 1b\n"
#define SPIN "1: dec %[n]\n jnz 1b\n"

#define HOLD(name, attr, mov, reg, body)                                       \
	attr __attribute__((noinline)) static void name(                       \
		const struct state *in, struct state *out, long n)             \
	{                                                                      \
		uint32_t mxcsr = 0x1f80;                                       \
		__asm__ volatile(LOAD_X87 LOAD_ALL(mov, reg) body              \
				 STORE_ALL(mov, reg) STORE_X87                 \
				 "ldmxcsr %[clean]\n"                          \
				 : [n] "+r"(n), [ofcw] "=m"(out->fcw),         \
				   [omxcsr] "=m"(out->mxcsr)                   \
				 : [in] "r"(in->vec), [out] "r"(out->vec),     \
				   [x87] "r"(in->x87), [ox87] "r"(out->x87),   \
				   [fcw] "m"(in->fcw), [mxcsr] "m"(in->mxcsr), \
				   [clean] "m"(mxcsr)                          \
				 : "rax", "rcx", "r11", "memory", "cc", "xmm0",\
				   "xmm1", "xmm2", "xmm3", "xmm4", "xmm5",     \
				   "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",    \
				   "xmm11", "xmm12", "xmm13", "xmm14",         \
				   "xmm15", "st", "st(1)", "st(2)", "st(3)",   \
				   "st(4)", "st(5)", "st(6)", "st(7)");        \
	}

#define AVX __attribute__((target("avx")))
HOLD(sse_calls, , "movups", "%%xmm", CALL_GETPID)
HOLD(sse_spin, , "movups", "%%xmm", SPIN)
HOLD(avx_calls, AVX, "vmovups", "%%ymm", CALL_GETPID)
HOLD(avx_spin, AVX, "vmovups", "%%ymm", SPIN)

static int lanes; // 64-bit lanes a vector register has: 2 (SSE) or 4 (AVX)

static void fill(struct state *s, unsigned seed)
{
	memset(s, 0, sizeof *s);
	for (int r = 0; r < VECTORS; r++)
		for (int l = 0; l < lanes; l++)
			s->vec[r][l] = seed * 0x9e3779b97f4a7c15u + r * 0x100 + l;
	for (int i = 0; i < X87; i++)
		s->x87[i] = seed + i / 8.0;
	// Two of the four rounding modes in both units: MXCSR bits 13–14,
	// control word bits 10–11. All exceptions stay masked.
	s->mxcsr = 0x1f80 | (seed & 3) << 13;
	s->fcw = 0x037f | (seed & 3) << 10;
}

static void hold(unsigned seed, long n, int calls)
{
	struct state in, out;

	fill(&in, seed);
	memset(&out, 0, sizeof out);
	if (lanes == 4)
		(calls ? avx_calls : avx_spin)(&in, &out, n);
	else
		(calls ? sse_calls : sse_spin)(&in, &out, n);
	CHECK(memcmp(in.vec, out.vec, sizeof in.vec) == 0);
	CHECK(memcmp(in.x87, out.x87, sizeof in.x87) == 0);
	CHECK(in.mxcsr == (out.mxcsr & ~0x3fu)); // sticky flags may be set
	CHECK(in.fcw == out.fcw);
}

static volatile sig_atomic_t ticks, dirty_starts;

// on_tick dirties every unit; a handler must start with default controls.
static void on_tick(int sig)
{
	struct state in, out;
	uint32_t mxcsr;
	uint16_t fcw;

	(void)sig;
	__asm__ volatile("stmxcsr %0\n fnstcw %1" : "=m"(mxcsr), "=m"(fcw));
	if ((mxcsr & ~0x3fu) != 0x1f80 || fcw != 0x037f)
		dirty_starts++;
	fill(&in, 0xdead);
	in.mxcsr = 0x1f80;
	in.fcw = 0x037f;
	sse_spin(&in, &out, 1);
	ticks++;
}

static void *worker(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;

	for (int i = 0; i < 40; i++) {
		hold(seed + i, 200, 1);
		hold(seed + i, 200000, 0);
	}
	return NULL;
}

// on_edit changes the interrupted code's XMM3 through the saved state.
static void on_edit(int sig, siginfo_t *si, void *uc)
{
	(void)sig;
	(void)si;
	fpregset_t fp = ((ucontext_t *)uc)->uc_mcontext.fpregs;
	fp->_xmm[3].element[0] = 0x12345678;
}

static void edit_saved_state(void)
{
	uint32_t before = 0x11111111, after = 0;
	struct sigaction sa = { .sa_sigaction = on_edit, .sa_flags = SA_SIGINFO };
	long pid = getpid();

	CHECK(sigaction(SIGUSR1, &sa, NULL) == 0);
	// kill(getpid(), SIGUSR1): the signal arrives before kill returns.
	__asm__ volatile("movd %[before], %%xmm3\n syscall\n movd %%xmm3, %[after]"
			 : [after] "=r"(after)
			 : [before] "r"(before), "a"(62L), "D"(pid), "S"((long)SIGUSR1)
			 : "rcx", "r11", "xmm3", "memory");
	CHECK(after == 0x12345678);
}

int main(void)
{
	struct sigaction sa = { .sa_handler = on_tick, .sa_flags = SA_RESTART };
	struct itimerval every = { { 0, 3000 }, { 0, 3000 } }, never = { { 0, 0 }, { 0, 0 } };
	pthread_t t[THREADS];

	lanes = __builtin_cpu_supports("avx") ? 4 : 2;
	hold(1, 1, 1);
	CHECK(sigaction(SIGALRM, &sa, NULL) == 0);
	CHECK(setitimer(ITIMER_REAL, &every, NULL) == 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		CHECK(pthread_create(&t[i], NULL, worker, (void *)(i * 1000 + 1)) == 0);
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
	while (ticks < 3)
		hold(99, 10000, 0);
	CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
	CHECK(dirty_starts == 0);
	edit_saved_state();
	puts("fpu: ok");
	return 0;
}
