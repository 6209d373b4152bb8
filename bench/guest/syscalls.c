// syscalls measures system calls from inside a guest. It prints one line
// "NAME MICROSECONDS" for each, the best of several samples: interference by
// the host only ever adds time.

#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SAMPLES = 7 };

static int fds[2], back[2];
static char byte;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static void getppid_call(void) { syscall(SYS_getppid); }

static void clock_call(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
}

static void pipe_own(void)
{
	if (write(fds[1], &byte, 1) != 1 || read(fds[0], &byte, 1) != 1)
		fail("pipe");
}

// echo is the other end of pipe_round.
static void *echo(void *arg)
{
	(void)arg;
	while (read(fds[0], &byte, 1) == 1 && byte == 0)
		if (write(back[1], &byte, 1) != 1)
			break;
	return NULL;
}

static void pipe_round(void)
{
	if (write(fds[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
		fail("pipe round trip");
}

static void fork_wait(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	if (pid < 0 || waitpid(pid, NULL, 0) != pid)
		fail("fork");
}

static void on_signal(int sig) { (void)sig; }

static void signal_self(void) { raise(SIGUSR1); }

static void page_fault(void)
{
	char *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		fail("mmap");
	*p = 1;
	munmap(p, 4096);
}

static void measure(const char *name, void (*fn)(void), int times)
{
	double best = 1e18;

	fn();
	for (int s = 0; s < SAMPLES; s++) {
		double start = now();
		for (int i = 0; i < times; i++)
			fn();
		double each = (now() - start) / times;
		if (each < best)
			best = each;
	}
	printf("%s %.3f\n", name, best);
	fflush(stdout);
}

int main(void)
{
	pthread_t t;

	if (pipe(fds) || pipe(back))
		fail("pipe");
	signal(SIGUSR1, on_signal);
	measure("getppid", getppid_call, 5000);
	measure("clock_gettime", clock_call, 5000);
	measure("pipe", pipe_own, 1000);
	measure("mmap+fault+munmap", page_fault, 500);
	measure("signal", signal_self, 500);
	measure("fork+wait", fork_wait, 30);
	if (pthread_create(&t, NULL, echo, NULL))
		fail("pthread_create");
	measure("pipe round trip", pipe_round, 300);
	byte = 1;
	if (write(fds[1], &byte, 1) != 1)
		fail("pipe");
	pthread_join(t, NULL);
	puts("syscalls: ok");
	return 0;
}
