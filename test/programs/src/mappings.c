// mappings checks mmap, mprotect, munmap and mremap: anonymous, of files,
// private, shared, fixed, and what fork does to each.

#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

enum { PAGE = 4096, PAGES = 16 };

static sigjmp_buf escape;
static int fault_signal;

static void on_fault(int sig)
{
	fault_signal = sig;
	siglongjmp(escape, 1);
}

// FAULTS evaluates expr and tells which signal it raised, 0 if none.
#define FAULTS(expr) \
	(fault_signal = 0, sigsetjmp(escape, 1) == 0 ? (void)(expr) : (void)0, fault_signal)

static char *map(size_t len, int prot, int flags, int fd)
{
	char *p = mmap(NULL, len, prot, flags, fd, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

static char *anonymous(size_t len)
{
	return map(len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

// temp_file makes an unlinked file of n pages, page i filled with 'a'+i.
static int temp_file(int n)
{
	char name[] = "/tmp/mappings.XXXXXX", page[PAGE];
	int fd = mkstemp(name);

	CHECK(fd >= 0 && unlink(name) == 0);
	for (int i = 0; i < n; i++) {
		memset(page, 'a' + i, PAGE);
		CHECK(write(fd, page, PAGE) == PAGE);
	}
	return fd;
}

static void protections(void)
{
	char *p = anonymous(PAGES * PAGE);

	for (int i = 0; i < PAGES * PAGE; i++)
		CHECK(p[i] == 0);
	memset(p, 1, PAGES * PAGE);
	CHECK(mprotect(p + 4 * PAGE, 4 * PAGE, PROT_READ) == 0);
	CHECK(mprotect(p + 8 * PAGE, 4 * PAGE, PROT_NONE) == 0);
	CHECK(FAULTS(*(volatile char *)(p + 4 * PAGE) = 2) == SIGSEGV);
	CHECK(FAULTS(*(volatile char *)(p + 4 * PAGE)) == 0);
	CHECK(FAULTS(*(volatile char *)(p + 8 * PAGE)) == SIGSEGV);
	CHECK(FAULTS(*(volatile char *)(p + 3 * PAGE) = 2) == 0);
	CHECK(mprotect(p, PAGES * PAGE, PROT_READ | PROT_WRITE) == 0);
	CHECK(p[4 * PAGE] == 1 && p[8 * PAGE] == 1);
	CHECK(munmap(p + PAGE, PAGE) == 0);
	CHECK(FAULTS(*(volatile char *)(p + PAGE)) == SIGSEGV);
	CHECK(p[2 * PAGE] == 1 && p[0] == 1);
	CHECK(madvise(p + 2 * PAGE, PAGE, MADV_DONTNEED) == 0 && p[2 * PAGE] == 0);
	CHECK(munmap(p, PAGES * PAGE) == 0);
}

static void placement(void)
{
	char *p = anonymous(4 * PAGE);

	memset(p, 9, 4 * PAGE);
	CHECK(mmap(p + PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p + PAGE);
	CHECK(p[0] == 9 && p[PAGE] == 0 && p[2 * PAGE] == 9);
	CHECK(mmap(p, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED);
	CHECK(errno == EEXIST);
	// Misaligned, in the kernel's half, and at the forbidden page 0.
	CHECK(mmap(p + 1, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED && errno == EINVAL);
	CHECK(mmap((void *)0xffffffffa0000000, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED && errno == ENOMEM);
	CHECK(munmap(p, 4 * PAGE) == 0);
}

static void moving(void)
{
	char *p = anonymous(4 * PAGE), *blocker, *q;

	for (int i = 0; i < 4; i++)
		p[i * PAGE] = 'a' + i;
	q = mremap(p, 4 * PAGE, 2 * PAGE, 0);
	CHECK(q == p && FAULTS(*(volatile char *)(p + 2 * PAGE)) == SIGSEGV);
	blocker = mmap(p + 2 * PAGE, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	CHECK(blocker == p + 2 * PAGE);
	CHECK(mremap(p, 2 * PAGE, 8 * PAGE, 0) == MAP_FAILED && errno == ENOMEM);
	q = mremap(p, 2 * PAGE, 8 * PAGE, MREMAP_MAYMOVE);
	CHECK(q != MAP_FAILED && q != p);
	CHECK(q[0] == 'a' && q[PAGE] == 'b' && q[7 * PAGE] == 0);
	CHECK(FAULTS(*(volatile char *)p) == SIGSEGV);
	CHECK(munmap(q, 8 * PAGE) == 0 && munmap(blocker, PAGE) == 0);
}

static void private_file(void)
{
	int fd = temp_file(4);
	char *p = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd), c;

	CHECK(p[0] == 'a' && p[3 * PAGE] == 'd');
	p[PAGE] = '!';
	CHECK(pread(fd, &c, 1, PAGE) == 1 && c == 'b');
	CHECK(munmap(p, 4 * PAGE) == 0);
	// Beyond the file's end a mapping raises SIGBUS, not SIGSEGV.
	p = map(6 * PAGE, PROT_READ, MAP_PRIVATE, fd);
	CHECK(FAULTS(*(volatile char *)(p + 5 * PAGE)) == SIGBUS);
	CHECK(munmap(p, 6 * PAGE) == 0 && close(fd) == 0);
}

static void shared_file(void)
{
	int fd = temp_file(4), status;
	char *p = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	char *again = map(PAGE, PROT_READ, MAP_SHARED, fd), c;

	p[0] = 'Z';
	CHECK(again[0] == 'Z');
	CHECK(pread(fd, &c, 1, 0) == 1 && c == 'Z');
	CHECK(pwrite(fd, "Y", 1, 1) == 1 && p[1] == 'Y');
	CHECK(msync(p, 4 * PAGE, MS_SYNC) == 0);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		p[2 * PAGE] = 'C';
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	CHECK(p[2 * PAGE] == 'C');
	CHECK(munmap(p, 4 * PAGE) == 0 && munmap(again, PAGE) == 0 && close(fd) == 0);
}

static void memory_file(void)
{
	int fd = memfd_create("mappings", 0);

	CHECK(fd >= 0 && ftruncate(fd, 2 * PAGE) == 0);
	char *p = map(2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	char *alias = map(2 * PAGE, PROT_READ, MAP_SHARED, fd);
	for (int i = 0; i < 2 * PAGE; i++)
		p[i] = i * 7;
	CHECK(memcmp(p, alias, 2 * PAGE) == 0);
	CHECK(ftruncate(fd, PAGE) == 0);
	CHECK(FAULTS(*(volatile char *)(alias + PAGE)) == SIGBUS);
	CHECK(munmap(p, 2 * PAGE) == 0 && munmap(alias, 2 * PAGE) == 0 && close(fd) == 0);
}

// many maps, touches and unmaps in a way that splits and joins regions.
static void many(void)
{
	enum { N = 512 };
	char *p = anonymous(N * PAGE);

	for (int i = 0; i < N; i += 2) {
		p[i * PAGE] = i;
		CHECK(mprotect(p + i * PAGE, PAGE, PROT_READ) == 0);
	}
	for (int i = 0; i < N; i += 2)
		CHECK(p[i * PAGE] == (char)i && munmap(p + i * PAGE, PAGE) == 0);
	for (int i = 1; i < N; i += 2)
		CHECK(p[i * PAGE] == 0);
	CHECK(munmap(p, N * PAGE) == 0);
}

int main(void)
{
	signal(SIGSEGV, on_fault);
	signal(SIGBUS, on_fault);
	protections();
	placement();
	moving();
	private_file();
	shared_file();
	memory_file();
	many();
	puts("mappings: ok");
	return 0;
}
