// Modes that take anonymous memory, each by another way to its pages: the
// program's own touch, or the kernel's on the program's behalf.

#include <sys/random.h>
#include <sys/uio.h>
#include "mode.h"

static void touched(void)
{
	for (;; ++*made)
		touch(anonymous(MB), MB);
}

static void populated(void)
{
	for (;; ++*made)
		if (mmap(NULL, 4 * MB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0) == MAP_FAILED)
			hold("mmap");
}

static void advised(void)
{
	for (;; ++*made)
		if (madvise(anonymous(4 * MB), 4 * MB, MADV_POPULATE_WRITE) != 0)
			hold("madvise");
}

static void locked(void)
{
	for (;; ++*made)
		if (mlock(anonymous(MB), MB) != 0)
			hold("mlock");
}

static void locked_future(void)
{
	if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
		hold("mlockall");
	for (;; ++*made)
		anonymous(MB);
}

static void broken(void)
{
	for (;; ++*made) {
		char *p = sbrk(MB);
		if (p == (char *)-1)
			hold("brk");
		touch(p, MB);
	}
}

static void overflow(int sig)
{
	(void)sig;
	errno = 0;
	hold("SIGSEGV");
}

static void deeper(long levels)
{
	volatile char frame[64 << 10];
	for (size_t i = 0; i < sizeof frame; i += PAGE)
		frame[i] = 1;
	++*made;
	if (levels > 0)
		deeper(levels - 1);
	frame[0] = 2; // so that the call above is no jump
}

static void stack(void)
{
	struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
	setrlimit(RLIMIT_STACK, &all);
	stack_t other = {.ss_sp = anonymous(64 << 10), .ss_size = 64 << 10};
	sigaltstack(&other, NULL);
	sigaction(SIGSEGV, &(struct sigaction){.sa_handler = overflow, .sa_flags = SA_ONSTACK}, NULL);
	deeper(1L << 40);
}

// read_into has the kernel write to memory that nobody has touched yet.
static void read_into(int fd)
{
	for (;; ++*made)
		if (pread(fd, anonymous(MB), MB, 0) < 0)
			hold("read");
}

static void read_zero(void) { read_into(open("/dev/zero", O_RDONLY)); }

static void read_file(void)
{
	int fd = open("/data/read", O_CREAT | O_RDWR, 0600);
	if (write(fd, block, sizeof block) < 0)
		hold("write");
	read_into(fd);
}

static void read_memfd(void)
{
	int fd = memfd_create("read", 0);
	if (write(fd, block, sizeof block) < 0)
		hold("write");
	read_into(fd);
}

static void read_huge(void)
{
	size_t size = 1 << 30;
	char *p = anonymous(size);
	int fd = open("/dev/zero", O_RDONLY);
	for (size_t done = 0; done < size; ++*made) {
		ssize_t n = read(fd, p + done, size - done);
		if (n <= 0)
			hold("read");
		done += n;
	}
}

static void read_vector(void)
{
	int fd = open("/dev/zero", O_RDONLY);
	for (;; ++*made) {
		struct iovec v[16];
		for (int i = 0; i < 16; i++)
			v[i] = (struct iovec){anonymous(64 << 10), 64 << 10};
		if (readv(fd, v, 16) < 0)
			hold("readv");
	}
}

static void random_bytes(void)
{
	for (;; ++*made)
		if (getrandom(anonymous(256 << 10), 256 << 10, 0) < 0)
			hold("getrandom");
}

static void received(void)
{
	int s[2];
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, s) != 0)
		hold("socketpair");
	for (;; ++*made) {
		if (write(s[0], block, 64 << 10) < 0)
			hold("write");
		if (recv(s[1], anonymous(64 << 10), 64 << 10, MSG_WAITALL) < 0)
			hold("recv");
	}
}

// other returns a process that sleeps, with the memory at p as it is now.
static pid_t other(void)
{
	pid_t child = fork();
	if (child < 0)
		hold("fork");
	for (; child == 0;)
		pause();
	return child;
}

static void vm_written(void)
{
	size_t size = (size_t)1 << 32;
	char *p = anonymous(size);
	pid_t child = other();
	for (size_t at = 0; at < size; at += MB, ++*made) {
		struct iovec from = {block, MB}, to = {p + at, MB};
		if (process_vm_writev(child, &from, 1, &to, 1, 0) < 0)
			hold("process_vm_writev");
	}
}

static void proc_mem(void)
{
	size_t size = (size_t)1 << 32;
	char *p = anonymous(size);
	int fd = open(numbered("/proc/%ld/mem", other()), O_RDWR);
	if (fd < 0)
		hold("open");
	for (size_t at = 0; at < size; at += MB, ++*made)
		if (pwrite(fd, block, MB, (off_t)(p + at)) < 0)
			hold("pwrite");
}

// copied has children write to what they share with their parent, a part of the
// machine's memory.
static void copied(int percent, int children)
{
	size_t size = total_memory() / 100 * percent / PAGE * PAGE;
	char *p = anonymous(size);
	touch(p, size);
	for (int i = 0; i < children; i++) {
		pid_t child = fork();
		if (child < 0)
			hold("fork");
		if (child == 0) {
			for (size_t at = 0; at < size; at += PAGE, ++*made)
				((volatile char *)p)[at] = 2;
			for (;;)
				pause();
		}
	}
	for (int status; wait(&status) > 0;)
		;
	errno = 0;
	hold("wait"); // all children were killed
}

static void cow_30(void) { copied(30, 1); }
static void cow_50(void) { copied(50, 1); }
static void cow_70(void) { copied(70, 1); }
static void cow_90(void) { copied(90, 1); }
static void cow_many(void) { copied(25, 8); }

// cow_read has the kernel copy: what it reads goes to shared pages.
static void cow_read(void)
{
	size_t size = total_memory() / 2 / PAGE * PAGE;
	char *p = anonymous(size);
	touch(p, size);
	if (other() < 0)
		hold("fork");
	int fd = open("/dev/zero", O_RDONLY);
	for (size_t at = 0; at < size; at += PAGE, ++*made)
		if (read(fd, p + at, PAGE) < 0)
			hold("read");
}

const struct mode memory_modes[] = {
	{"touch", touched},
	{"populate", populated},
	{"madvise", advised},
	{"mlock", locked},
	{"mlockall", locked_future},
	{"brk", broken},
	{"stack", stack},
	{"read-zero", read_zero},
	{"read-file", read_file},
	{"read-memfd", read_memfd},
	{"read-huge", read_huge},
	{"readv", read_vector},
	{"getrandom", random_bytes},
	{"recv", received},
	{"vm-writev", vm_written},
	{"proc-mem", proc_mem},
	{"cow-30", cow_30},
	{"cow-50", cow_50},
	{"cow-70", cow_70},
	{"cow-90", cow_90},
	{"cow-many", cow_many},
	{"cow-read", cow_read},
	{0},
};
