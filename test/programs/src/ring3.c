// ring3 executes the instructions that a program in ring 3 may not, or may
// only in part: what the CPU refuses must become the signal that Linux sends,
// and what it allows must work. Each case runs in a child of its own, which
// may take a second; so a machine that loops or ends fails the test.
//
// A case that differs between CPUs (Intel, AMD, an emulator) names more than
// one outcome.

#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>
#include "check.h"

enum { PAGE = 4096, SECONDS = 20 };

// Where an address of the kernel's half is, mapped or not.
#define KERNEL_TEXT 0xffffffff80200000ul
#define KERNEL_MAP 0xffff888000100000ul
#define NON_CANONICAL 0x800000000000ul

// outcome is how a case ended: with a signal that a handler saw (sig, code,
// addr), killed by one (sig, code KILLED), or by returning value.
struct outcome {
	int done, sig, code;
	unsigned long addr, value;
};

enum { KILLED = 1000, ANY = 1001 };

static struct outcome *result; // shared with the children
static char *low;              // a page below 4 GB: code, then data, then a stack
static int failures, ran;

static void record(int sig, siginfo_t *si, void *context)
{
	(void)context;
	result->sig = sig;
	result->code = si->si_code;
	result->addr = (unsigned long)si->si_addr;
	result->done = 1;
	_exit(0);
}

static void handle_all(void (*handler)(int, siginfo_t *, void *))
{
	static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS};
	static char stack[64 << 10];
	stack_t alt = {.ss_sp = stack, .ss_size = sizeof stack};
	struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};

	CHECK(sigaltstack(&alt, NULL) == 0);
	for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
		CHECK(sigaction(signals[i], &sa, NULL) == 0);
}

// in_child runs fn in a child and returns how it ended.
static struct outcome in_child(unsigned long (*fn)(void *), void *arg)
{
	int status;
	pid_t child;

	memset(result, 0, sizeof *result);
	fflush(stdout);
	CHECK((child = fork()) >= 0);
	if (child == 0) {
		handle_all(record);
		result->value = fn(arg);
		result->done = 1;
		_exit(0);
	}
	// The child has no way to take its own time limit with it into a loop
	// of the kernel's: the parent waits.
	for (int i = 0;; i++) {
		pid_t p = waitpid(child, &status, WNOHANG);
		CHECK(p >= 0);
		if (p == child)
			break;
		if (i < 200)
			sched_yield();
		else
			usleep(1000);
		if (i > SECONDS * 1000) {
			kill(child, SIGKILL);
			CHECK(waitpid(child, &status, 0) == child);
			break;
		}
	}
	if (WIFSIGNALED(status)) {
		result->sig = WTERMSIG(status);
		result->code = KILLED;
	} else {
		CHECK(WEXITSTATUS(status) == 0 && result->done);
	}
	return *result;
}

// expect compares an outcome with the n that are allowed.
static void expect(const char *name, struct outcome got, const struct outcome *want, int n)
{
	ran++;
	for (int i = 0; i < n; i++) {
		if (want[i].sig != got.sig)
			continue;
		if (got.sig == 0 && (want[i].value == got.value || want[i].code == ANY))
			return;
		if (got.sig != 0 && (want[i].code == got.code || (want[i].code == ANY && got.code != KILLED)))
			return;
	}
	failures++;
	printf("%s: signal %d code %d addr %#lx value %#lx; want", name, got.sig, got.code, got.addr, got.value);
	for (int i = 0; i < n; i++)
		printf("%s signal %d code %d value %#lx", i ? " or" : "", want[i].sig, want[i].code, want[i].value);
	printf("\n");
}

#define SIG(s, c) {.sig = (s), .code = (c)}
#define OK(v) {.value = (v)}
#define WHATEVER OK(0), {.code = ANY}, SIG(SIGSEGV, ANY), SIG(SIGILL, ANY), SIG(SIGBUS, ANY), SIG(SIGTRAP, ANY)
#define GP SIG(SIGSEGV, SI_KERNEL)
#define MAP SIG(SIGSEGV, SEGV_MAPERR)
#define UD SIG(SIGILL, ILL_ILLOPN)
#define EXPECT(name, got, ...)                                                      \
	do {                                                                            \
		const struct outcome want_[] = {__VA_ARGS__};                           \
		expect(name, got, want_, sizeof want_ / sizeof *want_);             \
	} while (0)

// --- Returns and jumps to another segment ---

// frame is what IRET pops, and FAR RET the first two of.
struct frame {
	unsigned long rip, cs, flags, rsp, ss;
	int size;       // 8, 4 or 2 bytes a word
	int far;        // 1: far return, 2: far return that pops 16 bytes more
	void *rsp_is;   // not NULL: the stack pointer, with nothing put there
};

#define LANDED 0x1234ul

// The code that a return goes to: back through the pointer in r12, with the
// stack in rbx. It is also copied to the low page, so it is position
// independent.
extern char landing[], landing_end[];
__asm__(".text\nlanding: mov $0x1234, %eax\n jmp *%r12\nlanding_end:\n");

// The instructions, which are never reached but by an indirect jump.
extern char iret8[], iret4[], iret2[], lret8[], lret4[], lret2[], lretn[];
__asm__(".text\n"
	"iret8: iretq\n"
	"iret4: iretl\n"
	"iret2: iretw\n"
	"lret8: lretq\n"
	"lret4: lretl\n"
	"lret2: lretw\n"
	"lretn: lretq $16\n");

static unsigned short reg_cs(void) { unsigned short s; __asm__("mov %%cs,%0" : "=r"(s)); return s; }
static unsigned short reg_ss(void) { unsigned short s; __asm__("mov %%ss,%0" : "=r"(s)); return s; }

static unsigned long do_return(void *arg)
{
	struct frame *f = arg;
	unsigned long words[5] = {f->rip, f->cs, f->flags, f->rsp, f->ss};
	char *p, *at;
	char *insn = f->size == 8 ? iret8 : f->size == 4 ? iret4 : iret2;
	unsigned long v;

	if (f->far)
		insn = f->far == 2 ? lretn : f->size == 8 ? lret8 : f->size == 4 ? lret4 : lret2;
	p = low + 3 * PAGE - 512;
	if (f->rip == 0)
		words[0] = (unsigned long)low;
	if (f->rsp == 0)
		words[3] = (unsigned long)(low + 3 * PAGE - 256);
	at = p;
	for (int i = 0; i < 5; i++, at += f->size)
		memcpy(at, &words[i], f->size);
	if (f->rsp_is)
		p = f->rsp_is;
	__asm__ volatile("mov %%rsp, %%rbx\n lea 1f(%%rip), %%r12\n"
			 "mov %1, %%rsp\n jmp *%2\n"
			 "1: mov %%rsp, %%r13\n mov %%rbx, %%rsp\n cld\n"
			 : "=a"(v)
			 : "r"(p), "r"(insn)
			 : "rbx", "r12", "r13", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc");
	return v;
}

static struct frame ordinary(void)
{
	return (struct frame){.cs = reg_cs(), .flags = 0x202, .ss = reg_ss(), .size = 8};
}

// F is an ordinary frame with changes, in order; no change is 0.
#define F(changes) ({ struct frame f_ = ordinary(); struct frame *f = &f_; (void)f; (void)(changes); f_; })

static struct outcome in_child_return(struct frame f) { return in_child(do_return, &f); }

#define RETURN(name, frame, ...) EXPECT(name, in_child_return(frame), __VA_ARGS__)

static void interrupt_returns(void)
{
	RETURN("iretq", F(0), OK(LANDED));
	RETURN("iretq, high code", F(f->rip = (unsigned long)landing), OK(LANDED));
	RETURN("iretl", F(f->size = 4), OK(LANDED));
	RETURN("iretl with VM", F((f->size = 4, f->flags = 0x20202)), OK(LANDED));
	RETURN("iretl with all flags but TF and AC", F((f->size = 4, f->flags = 0xfffbfeff)), OK(LANDED));
	RETURN("iretq with all flags but TF and AC", F(f->flags = 0xfffbfeff), OK(LANDED), GP);
	RETURN("iretq with no flags", F(f->flags = 0), OK(LANDED));
	RETURN("iretw", F(f->size = 2), MAP, SIG(SIGSEGV, SEGV_ACCERR)); // 16 bits of RIP
	RETURN("iretq with TF", F(f->flags = 0x302), SIG(SIGTRAP, TRAP_TRACE));
	RETURN("iretl with TF", F((f->size = 4, f->flags = 0x302)), SIG(SIGTRAP, TRAP_TRACE));

	static const unsigned long bad_cs[] = {0, 1, 3, 0x10, 0x13, 0x18, 0x1b, 0x2b, 0x2c, 0x30, 0x32, 0x37,
					       0x40, 0x43, 0x4b, 0x7, 0xfffb, 0x1233};
	static const unsigned long bad_ss[] = {0, 3, 0x10, 0x13, 0x18, 0x1b, 0x28, 0x29, 0x33, 0x40, 0x43, 0x7, 0xfffb};
	char name[64];

	for (int size = 8; size >= 2; size /= 2) {
		for (unsigned i = 0; i < sizeof bad_cs / sizeof *bad_cs; i++) {
			snprintf(name, sizeof name, "iret of %d bytes to CS %#lx", size, bad_cs[i]);
			RETURN(name, F((f->cs = bad_cs[i], f->size = size)), GP, SIG(SIGBUS, SI_KERNEL));
			snprintf(name, sizeof name, "lret of %d bytes to CS %#lx", size, bad_cs[i]);
			RETURN(name, F((f->cs = bad_cs[i], f->size = size, f->far = 1)), GP, SIG(SIGBUS, SI_KERNEL));
		}
		for (unsigned i = 0; i < sizeof bad_ss / sizeof *bad_ss; i++) {
			snprintf(name, sizeof name, "iret of %d bytes to SS %#lx", size, bad_ss[i]);
			RETURN(name, F((f->ss = bad_ss[i], f->size = size)), GP, SIG(SIGBUS, SI_KERNEL));
		}
	}
	RETURN("iretq, CS with high bits", F(f->cs = reg_cs() | 0x10000), OK(LANDED));

	RETURN("iretq to no canonical address", F(f->rip = NON_CANONICAL), GP);
	RETURN("iretq to no canonical address", F(f->rip = 0x8000000000000000), GP);
	RETURN("iretq to the kernel", F(f->rip = KERNEL_TEXT), MAP);
	RETURN("iretq to the kernel", F(f->rip = KERNEL_MAP), MAP);
	RETURN("iretq to nothing", F(f->rip = 0x10), MAP);
	RETURN("iretq to data", F(f->rip = (unsigned long)result), SIG(SIGSEGV, SEGV_ACCERR));
	RETURN("iretq, then a kernel stack", F(f->rsp = KERNEL_MAP), OK(LANDED));
	RETURN("iretq, then no canonical stack", F(f->rsp = NON_CANONICAL), OK(LANDED));
	RETURN("iretq, then an odd stack", F(f->rsp = 1), OK(LANDED));
	RETURN("iretq, frame in the kernel", F(f->rsp_is = (void *)KERNEL_MAP), MAP, GP);
	RETURN("iretq, frame in the kernel", F(f->rsp_is = (void *)KERNEL_TEXT), MAP, GP);
	RETURN("iretq, frame in the kernel", F(f->rsp_is = (void *)0xffff800000000000), MAP, GP);
	RETURN("iretq, frame at -8", F(f->rsp_is = (void *)-8l), MAP, GP, SIG(SIGBUS, SI_KERNEL));
	RETURN("iretq, frame nowhere canonical", F(f->rsp_is = (void *)NON_CANONICAL), SIG(SIGBUS, SI_KERNEL), GP);
	RETURN("iretq, frame across the end", F(f->rsp_is = (void *)(NON_CANONICAL - 16)), MAP, SIG(SIGBUS, SI_KERNEL), GP);
	RETURN("iretq, frame at 0", F(f->rsp_is = (void *)8), MAP);
	RETURN("iretq, frame across an unmapped page", F(f->rsp_is = low + 4 * PAGE - 16), MAP);
	RETURN("iretq, frame in a page without access", F(f->rsp_is = low + 5 * PAGE), SIG(SIGSEGV, SEGV_ACCERR));
}

static void far_returns(void)
{
	RETURN("lretq", F(f->far = 1), OK(LANDED));
	RETURN("lretq 16", F(f->far = 2), OK(LANDED));
	RETURN("lretl", F((f->far = 1, f->size = 4)), OK(LANDED));
	RETURN("lretw", F((f->far = 1, f->size = 2)), MAP, SIG(SIGSEGV, SEGV_ACCERR));
	RETURN("lretq to no canonical address", F((f->far = 1, f->rip = NON_CANONICAL)), GP);
	RETURN("lretq to the kernel", F((f->far = 1, f->rip = KERNEL_TEXT)), MAP);
	RETURN("lretq, frame in the kernel", F((f->far = 1, f->rsp_is = (void *)KERNEL_MAP)), MAP, GP);
	RETURN("lretq, frame nowhere canonical", F((f->far = 1, f->rsp_is = (void *)NON_CANONICAL)), SIG(SIGBUS, SI_KERNEL), GP);
	RETURN("lretq, frame at 0", F((f->far = 1, f->rsp_is = (void *)8)), MAP);
}

// A frame in memory that the kernel has yet to bring in, or to copy.
static unsigned long lazy_frame(void *arg)
{
	char *p = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct frame f = F(f->rsp_is = p + 4 * PAGE - 16);

	(void)arg;
	CHECK(p != MAP_FAILED);
	return do_return(&f); // zeroes: no CS
}

static unsigned long copied_frame(void *arg)
{
	struct frame f = F(0);
	pid_t child;
	int status;

	(void)arg;
	memset(low + 2 * PAGE, 0, PAGE);
	CHECK((child = fork()) >= 0);
	if (child == 0)
		_exit(do_return(&f) == LANDED ? 0 : 1);
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(status == 0);
	return do_return(&f);
}

static unsigned long many_returns(void *arg)
{
	struct frame f = F(f->rip = (unsigned long)landing);
	unsigned long sum = 0;

	(void)arg;
	for (int i = 0; i < 1000; i++)
		sum += do_return(&f);
	return sum;
}

// far_pointer is the operand of far jumps and calls, m16:32.
struct far_pointer {
	unsigned int offset;
	unsigned short selector;
} __attribute__((packed));

static unsigned long far_jump(void *arg)
{
	unsigned long v;

	__asm__ volatile("mov %%rsp, %%rbx\n lea 1f(%%rip), %%r12\n ljmpl *(%1)\n"
			 "1: mov %%rbx, %%rsp\n"
			 : "=a"(v) : "r"(arg) : "rbx", "r12", "memory");
	return v;
}

// far_call calls with the stack below 4 GB, and checks what was pushed.
static unsigned long far_call(void *arg)
{
	unsigned long v, sp;
	unsigned int *stack = (unsigned int *)(low + 3 * PAGE - 64);

	memset(stack - 8, 0xee, 64);
	__asm__ volatile("mov %%rsp, %%rbx\n lea 2f(%%rip), %%r12\n mov %3, %%rsp\n"
			 "lcalll *(%2)\n"
			 "1: ud2\n"
			 "2: mov %%rsp, %1\n mov %%rbx, %%rsp\n"
			 : "=a"(v), "=&r"(sp) : "r"(arg), "r"(stack) : "rbx", "r12", "memory");
	CHECK(sp == (unsigned long)(stack - 2));
	CHECK((stack[-1] & 0xffff) == reg_cs());
	return v;
}

static unsigned long far_call_to_kernel_stack(void *arg)
{
	unsigned long v;

	__asm__ volatile("mov %%rsp, %%rbx\n lea 1f(%%rip), %%r12\n mov %2, %%rsp\n lcalll *(%1)\n"
			 "1: mov %%rbx, %%rsp\n"
			 : "=a"(v) : "r"(arg), "r"(0xffff800000001000ul) : "rbx", "r12", "memory");
	return v;
}

static void far_jumps(void)
{
	static const unsigned short bad[] = {0, 3, 0x10, 0x13, 0x18, 0x2b, 0x30 | 4, 0x40, 0x43, 0x4b, 0x7, 0xfffb};
	struct far_pointer p = {(unsigned)(unsigned long)low, reg_cs()};
	char name[64];

	EXPECT("far jump", in_child(far_jump, &p), OK(LANDED));
	EXPECT("far call", in_child(far_call, &p), OK(LANDED));
	EXPECT("far call, stack in the kernel", in_child(far_call_to_kernel_stack, &p), MAP, GP);
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct far_pointer q = {(unsigned)(unsigned long)low, bad[i]};
		snprintf(name, sizeof name, "far jump to CS %#x", bad[i]);
		EXPECT(name, in_child(far_jump, &q), GP, SIG(SIGBUS, SI_KERNEL));
		snprintf(name, sizeof name, "far call to CS %#x", bad[i]);
		EXPECT(name, in_child(far_call, &q), GP, SIG(SIGBUS, SI_KERNEL));
	}
	// A 32-bit code segment: a system without 32-bit programs has none.
	struct far_pointer q = {(unsigned)(unsigned long)low, 0x23};
	EXPECT("far jump to 32-bit code", in_child(far_jump, &q), WHATEVER);
}

// --- Instructions that are given as bytes ---

static unsigned long run_bytes(void *arg)
{
	unsigned long v, scratch = (unsigned long)(low + PAGE);

	(void)arg;
	memset(low + PAGE, 0, PAGE);
	__asm__ volatile("xor %%ecx, %%ecx\n xor %%edx, %%edx\n call *%2\n"
			 : "=a"(v), "+D"(scratch) : "r"(low + 512), "0"(0ul)
			 : "rcx", "rdx", "rbx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc");
	return v;
}

// bytes runs an instruction with rdi = a zeroed page, rax = rcx = rdx = 0.
static struct outcome bytes(const char *code, size_t n)
{
	memcpy(low + 512, code, n);
	memcpy(low + 512 + n, "\xc3", 1);
	return in_child(run_bytes, NULL);
}

#define BYTES(name, code, ...) EXPECT(name, bytes(code, sizeof code - 1), __VA_ARGS__)

static void privileged(void)
{
	BYTES("nop", "\x90", OK(0));
	BYTES("hlt", "\xf4", GP);
	BYTES("cli", "\xfa", GP);
	BYTES("sti", "\xfb", GP);
	BYTES("in al, 0x80", "\xe4\x80", GP);
	BYTES("in eax, dx", "\xed", GP);
	BYTES("out 0x80, al", "\xe6\x80", GP);
	BYTES("out dx, al", "\xee", GP);
	BYTES("insb", "\x6c", GP);
	BYTES("outsb", "\x6e", GP);
	BYTES("rep outsl", "\xb9\x01\x00\x00\x00\xf3\x6f", GP, MAP);
	BYTES("rdmsr", "\x0f\x32", GP);
	BYTES("wrmsr", "\x0f\x30", GP);
	BYTES("rdpmc", "\x0f\x33", GP, {.code = ANY});
	BYTES("invlpg", "\x0f\x01\x3f", GP);
	BYTES("invd", "\x0f\x08", GP);
	BYTES("wbinvd", "\x0f\x09", GP);
	BYTES("invpcid", "\x66\x0f\x38\x82\x0f", GP, UD);
	BYTES("lgdt", "\x0f\x01\x17", GP);
	BYTES("lidt", "\x0f\x01\x1f", GP);
	BYTES("lldt", "\x0f\x00\xd0", GP);
	BYTES("ltr", "\x0f\x00\xd8", GP);
	BYTES("lmsw", "\x0f\x01\xf0", GP);
	BYTES("clts", "\x0f\x06", GP);
	BYTES("mov rax, cr0", "\x0f\x20\xc0", GP);
	BYTES("mov rax, cr2", "\x0f\x20\xd0", GP);
	BYTES("mov rax, cr3", "\x0f\x20\xd8", GP);
	BYTES("mov rax, cr4", "\x0f\x20\xe0", GP);
	BYTES("mov rax, cr8", "\x44\x0f\x20\xc0", GP);
	BYTES("mov cr0, rax", "\x0f\x22\xc0", GP);
	BYTES("mov cr3, rax", "\x0f\x22\xd8", GP);
	BYTES("mov cr4, rax", "\x0f\x22\xe0", GP);
	BYTES("mov rax, dr0", "\x0f\x21\xc0", GP);
	BYTES("mov rax, dr7", "\x0f\x21\xf8", GP);
	BYTES("mov dr0, rax", "\x0f\x23\xc0", GP);
	BYTES("swapgs", "\x0f\x01\xf8", GP);
	BYTES("sysret", "\x0f\x07", GP, UD);
	BYTES("sysretq", "\x48\x0f\x07", GP, UD);
	BYTES("sysexit", "\x0f\x35", GP, UD);
	BYTES("sysenter", "\x0f\x34", WHATEVER);
	BYTES("xsetbv", "\x0f\x01\xd1", GP, UD);
	BYTES("monitor", "\x0f\x01\xc8", GP, UD);
	BYTES("mwait", "\x0f\x01\xc9", GP, UD);
	BYTES("stac", "\x0f\x01\xcb", UD, GP);
	BYTES("clac", "\x0f\x01\xca", UD, GP);
	BYTES("rsm", "\x0f\xaa", UD);
	BYTES("vmlaunch", "\x0f\x01\xc2", UD, GP);
	BYTES("vmxoff", "\x0f\x01\xc4", UD, GP);
	BYTES("vmrun", "\x0f\x01\xd8", UD, GP);
	BYTES("vmload", "\x0f\x01\xda", UD, GP);
	BYTES("vmsave", "\x0f\x01\xdb", UD, GP);
	BYTES("stgi", "\x0f\x01\xdc", UD, GP);
	BYTES("clgi", "\x0f\x01\xdd", UD, GP);
	BYTES("skinit", "\x0f\x01\xde", UD, GP);
	BYTES("invlpga", "\x0f\x01\xdf", UD, GP);
	BYTES("vmcall", "\x0f\x01\xc1", WHATEVER);
	BYTES("vmmcall", "\x0f\x01\xd9", WHATEVER);
	BYTES("getsec", "\x0f\x37", UD, GP);
	BYTES("encls", "\x0f\x01\xcf", UD, GP);
	// What UMIP forbids, Linux gives dummy values for.
	BYTES("sgdt", "\x0f\x01\x07", WHATEVER);
	BYTES("sidt", "\x0f\x01\x0f", WHATEVER);
	BYTES("sldt", "\x0f\x00\xc0", WHATEVER);
	BYTES("str", "\x0f\x00\xc8", WHATEVER);
	BYTES("smsw", "\x0f\x01\xe0", WHATEVER);
	BYTES("lar", "\x0f\x02\xc0", WHATEVER);
	BYTES("verw", "\x0f\x00\xe8", WHATEVER);
	BYTES("rdtscp", "\x0f\x01\xf9", WHATEVER);
}

static void undefined(void)
{
	BYTES("ud2", "\x0f\x0b", UD);
	BYTES("ud1", "\x0f\xb9\xc0", UD);
	BYTES("into", "\xce", UD);
	BYTES("bound", "\x62\x07", UD);
	BYTES("lds", "\xc5\x07", UD);
	BYTES("push es", "\x06", UD);
	BYTES("pop ds", "\x1f", UD);
	BYTES("daa", "\x27", UD);
	BYTES("aam", "\xd4\x0a", UD);
	BYTES("pusha", "\x60", UD);
	BYTES("far call, immediate", "\x9a\0\0\0\0\0\0", UD);
	BYTES("far jump, immediate", "\xea\0\0\0\0\0\0", UD);
	BYTES("far jump to a register", "\xff\xe8", UD);
	BYTES("arpl, now movsxd", "\x63\xc0", OK(0));
	BYTES("lock nop", "\xf0\x90", UD);
	BYTES("lock mov", "\xf0\x89\x07", UD, OK(0)); // TCG stores it
	BYTES("lock add to a register", "\xf0\x01\xc0", UD);
	BYTES("mov cs, ax", "\x8e\xc8", UD);
	BYTES("16 prefixes", "\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x90", GP);
	BYTES("cmpxchg8b of a register", "\x0f\xc7\xc8", UD);
	BYTES("movaps, not aligned", "\x0f\x28\x47\x01", GP);
	BYTES("movntdq, not aligned", "\x66\x0f\xe7\x47\x01", GP, OK(0)); // TCG stores it
	BYTES("cmpxchg16b, not aligned", "\x48\x0f\xc7\x4f\x08", GP);
	BYTES("ldmxcsr, reserved bits", "\xc7\x07\xff\xff\xff\xff\x0f\xae\x17", GP, OK(0));
	BYTES("fxrstor, reserved bits", "\xc7\x47\x18\xff\xff\xff\xff\x0f\xae\x0f", GP, OK(0));
	BYTES("fxsave, not aligned", "\x0f\xae\x47\x01", GP);
	BYTES("fxrstor, not aligned", "\x0f\xae\x4f\x01", GP);
	BYTES("xsave, not aligned", "\x0f\xae\x67\x01", GP, UD);
	BYTES("xrstor, not aligned", "\x0f\xae\x6f\x01", GP, UD);
	BYTES("xrstor, bad header", "\xc7\x87\x08\x02\0\0\xff\xff\xff\xff\xff\xff\x83\xc8\xff\x83\xca\xff\x0f\xae\x2f", WHATEVER);
	BYTES("xgetbv of 7", "\xb9\x07\0\0\0\x0f\x01\xd0", GP, UD);
	BYTES("fxsave to nothing", "\x31\xff\x0f\xae\x07", MAP);
	BYTES("xsave to nothing", "\x31\xff\x0f\xae\x27", MAP, UD, OK(0));
	BYTES("fxsave to the kernel", "\x48\xbf\0\0\x10\0\x80\x88\xff\xff\x0f\xae\x07", MAP);
	BYTES("store to the kernel", "\x48\xbf\0\0\x10\0\x80\x88\xff\xff\x89\x07", MAP);
	BYTES("load from the kernel", "\x48\xbf\0\0\x10\0\x80\x88\xff\xff\x8b\x07", MAP);
	BYTES("store to no canonical address", "\x48\xbf\0\0\0\0\0\x80\0\0\x89\x07", GP);
	BYTES("store to the kernel, other alias", "\x48\xbf\0\0\0\0\0\xb0\xff\xff\x89\x07", MAP);
}

static void exceptions(void)
{
	BYTES("div by 0", "\xf7\xf1", SIG(SIGFPE, FPE_INTDIV));
	BYTES("idiv overflow", "\xba\x01\0\0\0\xb9\x01\0\0\0\xf7\xf9", SIG(SIGFPE, FPE_INTDIV));
	BYTES("int3", "\xcc", SIG(SIGTRAP, SI_KERNEL));
	BYTES("icebp", "\xf1", SIG(SIGTRAP, TRAP_BRKPT), SIG(SIGTRAP, TRAP_TRACE), UD); // TCG has none
	// x87: unmask all, divide 1 by 0, wait.
	BYTES("x87", "\xdb\xe3\xc7\x07\x40\x03\0\0\xd9\x2f\xd9\xe8\xd9\xee\xde\xf9\x9b", SIG(SIGFPE, FPE_FLTDIV));
	BYTES("x87, invalid", "\xdb\xe3\xc7\x07\x40\x03\0\0\xd9\x2f\xd9\xee\xd9\xee\xde\xf9\x9b", SIG(SIGFPE, FPE_FLTINV));
	// SSE: unmask all, divide 1 by 0. TCG raises no exception.
	BYTES("sse", "\xc7\x07\x00\0\0\0\x0f\xae\x17\xb8\x01\0\0\0\xf3\x0f\x2a\xc0\x0f\x57\xc9\xf3\x0f\x5e\xc1", SIG(SIGFPE, FPE_FLTDIV), {.code = ANY});
	BYTES("sse, invalid", "\xc7\x07\x00\0\0\0\x0f\xae\x17\x0f\x57\xc0\x0f\x57\xc9\xf3\x0f\x5e\xc1", SIG(SIGFPE, FPE_FLTINV), {.code = ANY});
	// AC: an access that is not aligned. The handler has AC set, too, and may
	// die of it. An emulator may not check it.
	BYTES("alignment check", "\x9c\x81\x0c\x24\0\0\x04\0\x9d\x8b\x47\x01\x9c\x81\x24\x24\xff\xff\xfb\xff\x9d", SIG(SIGBUS, BUS_ADRALN), SIG(SIGBUS, KILLED), OK(0));
	// MOV SS holds the trap back for an instruction, SYSCALL turns it off.
	BYTES("single step, mov ss, system call", "\x8c\xd1\xb8\x27\0\0\0\x9c\x81\x0c\x24\0\x01\0\0\x9d\x8e\xd1\x0f\x05\x90", SIG(SIGTRAP, TRAP_TRACE));
	// TF: the trap comes after the instruction that follows POPF.
	BYTES("single step", "\x9c\x81\x0c\x24\0\x01\0\0\x9d\x90\x90", SIG(SIGTRAP, TRAP_TRACE));
}

static void interrupts(void)
{
	for (int i = 0; i < 256; i++) {
		char name[32], code[] = {(char)0xcd, (char)i};
		struct outcome got;

		snprintf(name, sizeof name, "int %#x", i);
		memcpy(low + 512, "\xb8\x14\0\0\0", 5); // getpid, for a kernel that has int 0x80
		memcpy(low + 517, code, 2);
		memcpy(low + 519, "\xc3", 1);
		got = in_child(run_bytes, NULL);
		if (i == 3)
			EXPECT(name, got, SIG(SIGTRAP, SI_KERNEL));
		else if (i == 0x80 || i == 0x1a || i == 0x1b) // 32-bit calls, a hypervisor's own
			EXPECT(name, got, GP, {.code = ANY}, UD);
		else
			EXPECT(name, got, GP);
	}
}

// --- Segment registers ---

static void segments(void)
{
	// Those that Linux' tables have in common with ours, and those that
	// neither lets a program load.
	static const unsigned char loadable[] = {0, 1, 2, 3, 0x28, 0x2b, 0x33}, not[] = {0x10, 0x13, 0x18, 0x1b, 0x40, 0x43, 0x07, 0xf3};
	static const struct { char name[3]; unsigned char modrm; } regs[] = {{"es", 0xc0}, {"ss", 0xd0}, {"ds", 0xd8}, {"fs", 0xe0}, {"gs", 0xe8}};
	char name[64];

	for (unsigned r = 0; r < sizeof regs / sizeof *regs; r++) {
		int ss = r == 1;
		// Code that loads FS has no thread-local variables after it:
		// they keep FS's base in rsi meanwhile.
		for (unsigned i = 0; i < sizeof loadable + sizeof not; i++) {
			unsigned char sel = i < sizeof loadable ? loadable[i] : not[i - sizeof loadable];
			char code[] = "\xb8\0\0\0\0\x8e\0\x89\xc1\x31\xc0\xc3";
			unsigned char read = regs[r].modrm; // mov eax, sreg
			struct outcome got;

			code[1] = (char)sel;
			code[6] = (char)regs[r].modrm;
			(void)read;
			memcpy(low + 512, code, sizeof code);
			got = in_child(run_bytes, NULL);
			snprintf(name, sizeof name, "mov %s, %#x", regs[r].name, sel);
			if (i >= sizeof loadable || (ss && sel != 0x2b))
				EXPECT(name, got, GP, SIG(SIGBUS, SI_KERNEL));
			else if (r == 3)
				EXPECT(name, got, OK(0), SIG(SIGSEGV, KILLED), SIG(SIGSEGV, ANY)); // the C library's FS is gone
			else
				EXPECT(name, got, OK(0));
		}
	}
}

// --- Flags across a system call ---

// flags_after sets flags, makes a system call, and returns what is set then.
static unsigned long flags_after(void *arg)
{
	unsigned long after, set = (unsigned long)arg;

	__asm__ volatile("sub $256, %%rsp\n pushfq\n or %1, (%%rsp)\n popfq\n"
			 "mov $39, %%eax\n syscall\n pushfq\n pop %0\n"
			 "pushfq\n andq $0xffffffffffb3baff, (%%rsp)\n popfq\n add $256, %%rsp\n"
			 : "=r"(after) : "r"(set) : "rax", "rcx", "r11", "memory", "cc");
	return after & set;
}

static unsigned long bad_syscalls(void *arg)
{
	unsigned long v, sp = (unsigned long)arg;

	__asm__ volatile("mov %%rsp, %%rbx\n mov %1, %%rsp\n mov $39, %%eax\n syscall\n mov %%rsp, %%rdx\n mov %%rbx, %%rsp\n"
			 : "=a"(v), "+d"(sp) : : "rbx", "rcx", "r11", "memory");
	CHECK(sp == (unsigned long)arg);
	return v == (unsigned long)getpid();
}

static unsigned long push_at(void *arg)
{
	__asm__ volatile("mov %%rsp, %%rbx\n mov %0, %%rsp\n push %%rax\n mov %%rbx, %%rsp\n" : : "r"(arg) : "rbx", "memory");
	return 0;
}

static unsigned long trap_at(void *arg)
{
	__asm__ volatile("mov %%rsp, %%rbx\n mov %0, %%rsp\n ud2\n mov %%rbx, %%rsp\n" : : "r"(arg) : "rbx", "memory");
	return 0;
}

static unsigned long jump_to(void *arg)
{
	__asm__ volatile("jmp *%0" : : "r"(arg) : "memory");
	return 0;
}

static void flags_and_stacks(void)
{
	EXPECT("AC across a system call", in_child(flags_after, (void *)0x40000), OK(0x40000), OK(0));
	EXPECT("DF across a system call", in_child(flags_after, (void *)0x400), OK(0x400));
	EXPECT("ID across a system call", in_child(flags_after, (void *)0x200000), OK(0x200000));
	EXPECT("arithmetic flags across a system call", in_child(flags_after, (void *)0x8d5), OK(0x8d5));
	EXPECT("NT across a system call", in_child(flags_after, (void *)0x4000), OK(0x4000), OK(0));
	EXPECT("IOPL across a system call", in_child(flags_after, (void *)0x3000), OK(0));
	EXPECT("VM, VIF, VIP across a system call", in_child(flags_after, (void *)0x1a0000), OK(0));
	EXPECT("TF across a system call", in_child(flags_after, (void *)0x100), SIG(SIGTRAP, TRAP_TRACE));

	static const unsigned long stacks[] = {0, 1, 7, 0x10, 0x10001, NON_CANONICAL - 1, NON_CANONICAL, KERNEL_MAP, KERNEL_TEXT, -1ul, -8ul};
	for (unsigned i = 0; i < sizeof stacks / sizeof *stacks; i++) {
		unsigned long sp = stacks[i];
		char name[64];

		snprintf(name, sizeof name, "system call with the stack at %#lx", sp);
		if (sp == NON_CANONICAL) // a host's hypervisor may refuse it
			EXPECT(name, in_child(bad_syscalls, (void *)sp), OK(1), GP);
		else
			EXPECT(name, in_child(bad_syscalls, (void *)sp), OK(1));
		snprintf(name, sizeof name, "exception with the stack at %#lx", sp);
		EXPECT(name, in_child(trap_at, (void *)sp), UD);
		snprintf(name, sizeof name, "push with the stack at %#lx", sp);
		EXPECT(name, in_child(push_at, (void *)sp), MAP, GP, SIG(SIGBUS, SI_KERNEL));
	}
	static const unsigned long targets[] = {0, 0x10, NON_CANONICAL - 2, NON_CANONICAL - 1, NON_CANONICAL - PAGE, KERNEL_MAP, KERNEL_TEXT, 0xffffffffa0001000, -1ul};
	for (unsigned i = 0; i < sizeof targets / sizeof *targets; i++) {
		char name[64];
		snprintf(name, sizeof name, "jump to %#lx", targets[i]);
		EXPECT(name, in_child(jump_to, (void *)targets[i]), MAP);
	}
	EXPECT("jump to no canonical address", in_child(jump_to, (void *)NON_CANONICAL), GP);
	EXPECT("jump to no canonical address", in_child(jump_to, (void *)0xdeadbeefdeadbeef), GP);
}

// SYSCALL as the last instruction of the last page that a program can map.
static unsigned long last_page(void *arg)
{
	char *p = (char *)(NON_CANONICAL - 2 * PAGE);
	unsigned char code[] = {0xb8, 39, 0, 0, 0, 0x0f, 0x05};

	(void)arg;
	if (mmap(p, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != p)
		return 1; // the stack is there
	CHECK(mmap(p + PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED);
	memcpy(p + PAGE - sizeof code, code, sizeof code);
	__asm__ volatile("jmp *%0" : : "r"(p + PAGE - sizeof code) : "memory");
	return 0;
}

// An instruction that goes on in a page that is not there, or not executable.
static unsigned long across_pages(void *arg)
{
	char *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	memcpy(p + PAGE - 2, "\x48\xb8\0\0\0\0\0\0\0\0\xc3", 11);
	if (arg)
		CHECK(mprotect(p + PAGE, PAGE, PROT_READ) == 0);
	else
		CHECK(munmap(p + PAGE, PAGE) == 0);
	__asm__ volatile("jmp *%0" : : "r"(p + PAGE - 2) : "memory");
	return 0;
}

// --- Signal frames ---

// edit is what a handler does to the context that it returns to.
struct edit {
	int reg;
	unsigned long value;
};

static struct edit *edits;
static int entered;

static void edit_context(int sig, siginfo_t *si, void *context)
{
	ucontext_t *uc = context;

	if (entered++) {
		record(sig, si, context);
		return;
	}
	if (edits->reg < 0) { // the floating point area
		unsigned int *fp = (unsigned int *)uc->uc_mcontext.fpregs;
		if (edits->reg == -1)
			fp[6] = 0xffffffff; // MXCSR
		else if (edits->reg == -2)
			memset(fp, 0xff, 512);
		else
			uc->uc_mcontext.fpregs = (void *)edits->value;
		uc->uc_mcontext.gregs[REG_RIP] += 2;
		return;
	}
	uc->uc_mcontext.gregs[REG_RIP] += 2;
	uc->uc_mcontext.gregs[edits->reg] = (greg_t)edits->value;
}

static unsigned long return_from_handler(void *arg)
{
	edits = arg;
	handle_all(edit_context);
	__asm__ volatile("mov %%rsp, %%rbx\n ud2\n mov %%rbx, %%rsp\n" : : : "rax", "rbx", "rcx", "rdx", "memory", "cc");
	return LANDED;
}

#define SIGRETURN(name, reg, value, ...) \
	EXPECT("sigreturn with " name, in_child(return_from_handler, &(struct edit){reg, value}), __VA_ARGS__)
#define CSGSFS(cs, ss) ((cs) | (unsigned long)(ss) << 48)

static void signal_frames(void)
{
	SIGRETURN("nothing changed", REG_RAX, 0, OK(LANDED));
	SIGRETURN("no canonical RIP", REG_RIP, NON_CANONICAL, GP);
	SIGRETURN("no canonical RIP", REG_RIP, 0xdeadbeefdeadbeef, GP);
	SIGRETURN("a kernel RIP", REG_RIP, KERNEL_TEXT, MAP);
	SIGRETURN("a kernel RIP", REG_RIP, KERNEL_MAP, MAP);
	SIGRETURN("the last RIP", REG_RIP, NON_CANONICAL - 1, MAP);
	SIGRETURN("no RIP", REG_RIP, 0, MAP);
	SIGRETURN("a kernel RSP", REG_RSP, KERNEL_MAP, OK(LANDED));
	SIGRETURN("no canonical RSP", REG_RSP, NON_CANONICAL, OK(LANDED), GP);
	SIGRETURN("an odd RSP", REG_RSP, 1, OK(LANDED));
	SIGRETURN("CS 0", REG_CSGSFS, CSGSFS(0, reg_ss()), WHATEVER);
	SIGRETURN("kernel CS", REG_CSGSFS, CSGSFS(0x10, reg_ss()), WHATEVER);
	SIGRETURN("SS for CS", REG_CSGSFS, CSGSFS(reg_ss(), reg_ss()), WHATEVER);
	SIGRETURN("kernel SS", REG_CSGSFS, CSGSFS(reg_cs(), 0x18), WHATEVER);
	SIGRETURN("SS 0", REG_CSGSFS, CSGSFS(reg_cs(), 0), WHATEVER);
	SIGRETURN("all selectors set", REG_CSGSFS, -1ul, WHATEVER);
	SIGRETURN("all flags but TF and AC", REG_EFL, 0xfffffffffffbfeff, OK(LANDED), GP);
	SIGRETURN("VM", REG_EFL, 0x20202, OK(LANDED));
	SIGRETURN("IOPL", REG_EFL, 0x3202, OK(LANDED));
	SIGRETURN("no interrupts", REG_EFL, 2, OK(LANDED));
	SIGRETURN("NT", REG_EFL, 0x4202, OK(LANDED));
	SIGRETURN("RF", REG_EFL, 0x10202, OK(LANDED));
	SIGRETURN("TF", REG_EFL, 0x302, SIG(SIGTRAP, TRAP_TRACE));
	SIGRETURN("a bad MXCSR", -1, 0, OK(LANDED), SIG(SIGSEGV, ANY), SIG(SIGSEGV, KILLED));
	SIGRETURN("a bad FXSAVE area", -2, 0, OK(LANDED), SIG(SIGSEGV, ANY), SIG(SIGSEGV, KILLED));
	SIGRETURN("no FXSAVE area", -3, 0, OK(LANDED));
	SIGRETURN("an FXSAVE area nowhere", -3, 0x1000, SIG(SIGSEGV, ANY), SIG(SIGSEGV, KILLED), OK(LANDED));
	SIGRETURN("an FXSAVE area in the kernel", -3, KERNEL_MAP, SIG(SIGSEGV, ANY), SIG(SIGSEGV, KILLED), OK(LANDED));
	SIGRETURN("an FXSAVE area nowhere canonical", -3, NON_CANONICAL, SIG(SIGSEGV, ANY), SIG(SIGSEGV, KILLED), OK(LANDED));
	SIGRETURN("an FXSAVE area not aligned", -3, (unsigned long)low + PAGE + 1, WHATEVER, SIG(SIGSEGV, KILLED), OK(LANDED));
}

// sigreturn without a frame, from stacks that hold none.
static unsigned long bare_sigreturn(void *arg)
{
	__asm__ volatile("mov %0, %%rsp\n mov $15, %%eax\n syscall\n ud2" : : "r"(arg) : "rax", "rcx", "r11", "memory");
	return 0;
}

// A handler whose stack is nowhere.
static unsigned long no_handler_stack(void *arg)
{
	stack_t alt = {.ss_flags = SS_DISABLE};

	CHECK(sigaltstack(&alt, NULL) == 0);
	return trap_at(arg);
}

static unsigned long alternate_stack_at(void *arg)
{
	stack_t alt = {.ss_sp = arg, .ss_size = 64 << 10};

	if (sigaltstack(&alt, NULL) != 0)
		return 1;
	__asm__ volatile("ud2");
	return 0;
}

static void lost_stacks(void)
{
	static const unsigned long where[] = {0, 8, 0x10000, NON_CANONICAL, NON_CANONICAL - PAGE, KERNEL_MAP, KERNEL_TEXT, -8ul};
	char name[64];

	for (unsigned i = 0; i < sizeof where / sizeof *where; i++) {
		snprintf(name, sizeof name, "sigreturn at %#lx", where[i]);
		EXPECT(name, in_child(bare_sigreturn, (void *)where[i]), SIG(SIGSEGV, ANY), SIG(SIGSEGV, KILLED));
		snprintf(name, sizeof name, "handler at %#lx", where[i]);
		EXPECT(name, in_child(no_handler_stack, (void *)where[i]), SIG(SIGSEGV, KILLED));
		snprintf(name, sizeof name, "alternate stack at %#lx", where[i]);
		EXPECT(name, in_child(alternate_stack_at, (void *)where[i]), SIG(SIGSEGV, KILLED), OK(1));
	}
}

// --- Single steps ---

static volatile int steps;
static unsigned long step_ip[32];

static void on_step(int sig, siginfo_t *si, void *context)
{
	ucontext_t *uc = context;

	(void)sig;
	(void)si;
	if (steps < 32)
		step_ip[steps] = (unsigned long)uc->uc_mcontext.gregs[REG_RIP];
	steps++;
}

extern char stepped[], stepped_syscall[], stepped_end[];

// stepped_call single-steps over a system call. One trap each instruction,
// at the one that follows; TF is off in the handler.
static unsigned long stepped_call(void *arg)
{
	unsigned long v;

	(void)arg;
	handle_all(on_step);
	__asm__ volatile("sub $256, %%rsp\n mov $39, %%eax\n pushfq\n orq $0x100, (%%rsp)\n popfq\n"
			 "stepped: nop\n"
			 "stepped_syscall: syscall\n nop\n nop\n"
			 "pushfq\n andq $~0x100, (%%rsp)\n popfq\n"
			 "stepped_end: add $256, %%rsp\n"
			 : "=a"(v) : : "rcx", "r11", "memory", "cc");
	CHECK(v == (unsigned long)getpid());
	CHECK(steps >= 5 && steps <= 8);
	CHECK(step_ip[0] == (unsigned long)stepped_syscall);
	for (int i = 1; i < steps; i++)
		CHECK(step_ip[i] > step_ip[i - 1] && step_ip[i] <= (unsigned long)stepped_end);
	return 1;
}

int main(void)
{
	result = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	// Three pages, one that is not there, one without access.
	low = mmap(NULL, 6 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	CHECK(result != MAP_FAILED && low != MAP_FAILED);
	CHECK(munmap(low + 4 * PAGE, PAGE) == 0 && mprotect(low + 5 * PAGE, PAGE, PROT_NONE) == 0);
	memcpy(low, landing, landing_end - landing);

	interrupt_returns();
	far_returns();
	EXPECT("iretq, frame not brought in", in_child(lazy_frame, NULL), GP);
	EXPECT("iretq, frame to be copied", in_child(copied_frame, NULL), OK(LANDED));
	EXPECT("iretq, a thousand times", in_child(many_returns, NULL), OK(1000 * LANDED));
	far_jumps();
	privileged();
	undefined();
	exceptions();
	interrupts();
	segments();
	flags_and_stacks();
	EXPECT("system call at the end of the address space", in_child(last_page, NULL), MAP, OK(1));
	EXPECT("instruction into nothing", in_child(across_pages, NULL), MAP);
	EXPECT("instruction into data", in_child(across_pages, (void *)1), SIG(SIGSEGV, SEGV_ACCERR));
	signal_frames();
	lost_stacks();
	EXPECT("single steps over a system call", in_child(stepped_call, NULL), OK(1));

	printf("%d cases\n", ran);
	CHECK(failures == 0);
	puts("ring3: ok");
	return 0;
}
