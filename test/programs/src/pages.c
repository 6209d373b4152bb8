// pages checks page permissions on code: text cannot be written, data cannot
// be executed, and code that a program writes and re-protects is seen.

#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>
#include "check.h"

static sigjmp_buf escape;
static volatile int fault_code;

static void on_fault(int sig, siginfo_t *si, void *uc)
{
	(void)sig;
	(void)uc;
	fault_code = si->si_code;
	siglongjmp(escape, 1);
}

// mov eax, imm32; ret
static void put_code(unsigned char *p, int value)
{
	p[0] = 0xb8;
	memcpy(p + 1, &value, 4);
	p[5] = 0xc3;
}

// noipa: its callers must not know what it returns.
__attribute__((noipa)) static int seven(void)
{
	__asm__ volatile("");
	return 7;
}

static void text_is_read_only(void)
{
	fault_code = 0;
	if (sigsetjmp(escape, 1) == 0)
		*(volatile char *)(uintptr_t)seven = 0x90;
	CHECK(fault_code == SEGV_ACCERR && seven() == 7);
}

static void data_is_not_executable(void)
{
	unsigned char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	put_code(p, 1);
	fault_code = 0;
	if (sigsetjmp(escape, 1) == 0)
		((int (*)(void))(uintptr_t)p)();
	CHECK(fault_code == SEGV_ACCERR);

	unsigned char stack[16];
	put_code(stack, 1);
	fault_code = 0;
	if (sigsetjmp(escape, 1) == 0)
		((int (*)(void))(uintptr_t)stack)();
	CHECK(fault_code == SEGV_ACCERR);
	CHECK(munmap(p, 4096) == 0);
}

// A just-in-time compiler's life: write, protect, call, write again.
static void rewritten_code(void)
{
	unsigned char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	for (int i = 0; i < 50; i++) {
		put_code(p, i);
		CHECK(mprotect(p, 4096, PROT_READ | PROT_EXEC) == 0);
		CHECK(((int (*)(void))(uintptr_t)p)() == i);
		CHECK(mprotect(p, 4096, PROT_READ | PROT_WRITE) == 0);
	}
	CHECK(mprotect(p, 4096, PROT_READ | PROT_WRITE | PROT_EXEC) == 0);
	for (int i = 0; i < 50; i++) {
		put_code(p, i);
		CHECK(((int (*)(void))(uintptr_t)p)() == i);
	}
}

// The program's own text, made writable, becomes a private copy.
static void patched_text(void)
{
	unsigned char *page = (unsigned char *)((uintptr_t)seven & ~(uintptr_t)4095);

	CHECK(mprotect(page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC) == 0);
	put_code((unsigned char *)(uintptr_t)seven, 8);
	CHECK(mprotect(page, 8192, PROT_READ | PROT_EXEC) == 0);
	CHECK(seven() == 8);
}

int main(void)
{
	struct sigaction sa = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };

	CHECK(sigaction(SIGSEGV, &sa, NULL) == 0);
	text_is_read_only();
	data_is_not_executable();
	rewritten_code();
	patched_text();
	puts("pages: ok");
	return 0;
}
