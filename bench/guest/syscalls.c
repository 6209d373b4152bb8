// syscalls measures system calls from inside a guest. It prints one line
// "NAME MICROSECONDS" for each, the second shortest of several samples: what
// else the host does makes samples longer, a timer interrupt that the guest
// missed may make one shorter.
//
// A clock may move in steps: that of Linux in QEMU does, by up to 4 ms when it
// has nothing better than its timer interrupt. So a sample begins at a step,
// takes many of them, and looks for its end often.

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

enum {
	SAMPLES = 7,
	SAMPLE = 60000, // µs that a sample takes at least
	TRIAL = 8000,   // µs: long enough to tell how long a call takes
	LOOKS = 16,     // at the clock, in TRIAL
};

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

// step waits until the clock moves, and returns what it shows.
static double step(void)
{
	double before = now(), t;

	while ((t = now()) == before)
		;
	return t;
}

// batch returns how many calls to make between two looks at the clock.
static int batch(void (*fn)(void))
{
	for (int n = 1;; n *= 2) {
		double start = step();
		for (int i = 0; i < n; i++)
			fn();
		if (now() - start >= TRIAL)
			return n > LOOKS ? n / LOOKS : 1;
	}
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void measure(const char *name, void (*fn)(void))
{
	double each[SAMPLES];
	int n = batch(fn);

	for (int s = 0; s < SAMPLES; s++) {
		double start = step(), took;
		long calls = 0;
		do {
			for (int i = 0; i < n; i++)
				fn();
			calls += n;
		} while ((took = now() - start) < SAMPLE);
		each[s] = took / calls;
	}
	qsort(each, SAMPLES, sizeof *each, compare);
	printf("%s %.3f\n", name, each[1]);
	fflush(stdout);
}

int main(void)
{
	pthread_t t;

	if (pipe(fds) || pipe(back))
		fail("pipe");
	signal(SIGUSR1, on_signal);
	measure("getppid", getppid_call);
	measure("clock_gettime", clock_call);
	measure("pipe", pipe_own);
	measure("mmap+fault+munmap", page_fault);
	measure("signal", signal_self);
	measure("fork+wait", fork_wait);
	if (pthread_create(&t, NULL, echo, NULL))
		fail("pthread_create");
	measure("pipe round trip", pipe_round);
	byte = 1;
	if (write(fds[1], &byte, 1) != 1)
		fail("pipe");
	pthread_join(t, NULL);
	puts("syscalls: ok");
	return 0;
}
