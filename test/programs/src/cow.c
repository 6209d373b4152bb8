// cow checks that fork gives parent and child their own copies of private
// memory, in both directions, over generations, and under threads.

#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

enum { PAGE = 4096, PAGES = 256 };

static uint32_t *heap;           // anonymous private memory, PAGES pages
static uint32_t data = 1;        // .data
static volatile uint32_t bss;    // .bss

static void fill(uint32_t tag)
{
	for (int i = 0; i < PAGES; i++)
		heap[i * PAGE / 4] = tag + i;
	data = tag;
	bss = tag;
}

static int holds(uint32_t tag)
{
	for (int i = 0; i < PAGES; i++)
		if (heap[i * PAGE / 4] != tag + i)
			return 0;
	return data == tag && bss == tag;
}

// wait_for returns a child's exit status.
static int wait_for(pid_t pid)
{
	int status;

	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	return WEXITSTATUS(status);
}

// generation forks depth deep; every level changes everything and must find
// its own values after its descendants are gone.
static void generation(int depth)
{
	fill(depth * 1000);
	if (depth == 0)
		return;
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK(holds(depth * 1000));
		generation(depth - 1);
		_exit(holds((depth - 1) * 1000) ? 0 : 1);
	}
	CHECK(wait_for(pid) == 0);
	CHECK(holds(depth * 1000));
}

// together lets parent and child write the same pages at the same time.
static void together(void)
{
	fill(5);
	pid_t pid = fork();
	CHECK(pid >= 0);
	uint32_t tag = pid == 0 ? 100000 : 200000;
	for (int round = 0; round < 20; round++) {
		fill(tag + round);
		usleep(500);
		CHECK(holds(tag + round));
	}
	if (pid == 0)
		_exit(0);
	CHECK(wait_for(pid) == 0);
}

// A kernel write (read(2) into copied memory) must break the sharing too.
static void kernel_writes(void)
{
	int fds[2];

	fill(7);
	CHECK(pipe(fds) == 0);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK(read(fds[0], &heap[0], 4) == 4);
		_exit(heap[0] == 0x41414141 ? 0 : 1);
	}
	CHECK(write(fds[1], "AAAA", 4) == 4);
	CHECK(wait_for(pid) == 0);
	CHECK(holds(7));
}

static void *forker(void *arg)
{
	(void)arg;
	for (int i = 0; i < 10; i++) {
		volatile uint32_t mine = i;
		pid_t pid = fork();
		if (pid == 0) {
			mine = 99;
			_exit(mine == 99 ? 0 : 1);
		}
		CHECK(wait_for(pid) == 0 && mine == (uint32_t)i);
	}
	return NULL;
}

static void forks_in_threads(void)
{
	pthread_t t[4];

	for (int i = 0; i < 4; i++)
		CHECK(pthread_create(&t[i], NULL, forker, NULL) == 0);
	for (int i = 0; i < 4; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
}

int main(void)
{
	heap = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(heap != MAP_FAILED);
	generation(4);
	together();
	kernel_writes();
	forks_in_threads();
	puts("cow: ok");
	return 0;
}
