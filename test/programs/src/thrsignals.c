// thrsignals checks signals in a process of several threads: directed to one
// thread, to the process, EINTR in the thread that waits, and a thread that
// spins without a system call.

#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "check.h"

enum { THREADS = 4, SHOTS = 50 };

static pthread_t threads[THREADS];
static volatile int hits[THREADS], ready, stop;
static __thread int me;

static void on_hit(int sig)
{
	(void)sig;
	hits[me]++;
}

static void *spin(void *arg)
{
	me = (int)(intptr_t)arg;
	__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
	while (!stop)
		;
	return NULL;
}

static void await(volatile int *value, int want)
{
	for (int i = 0; *value != want; i++) {
		CHECK(i < 20000);
		usleep(500);
	}
}

static void spinning(void)
{
	for (intptr_t i = 0; i < THREADS; i++)
		CHECK(pthread_create(&threads[i], NULL, spin, (void *)i) == 0);
	await(&ready, THREADS);
	for (int s = 1; s <= SHOTS; s++)
		for (int i = 0; i < THREADS; i++) {
			CHECK(pthread_kill(threads[i], SIGUSR1) == 0);
			await(&hits[i], s);
		}
	stop = 1;
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
}

static int fds[2];
static volatile int interrupted;

static void *blocked_reader(void *arg)
{
	char c;

	(void)arg;
	me = 0;
	ready = 1;
	CHECK(read(fds[0], &c, 1) == -1 && errno == EINTR);
	interrupted = 1;
	return NULL;
}

static void blocked(void)
{
	pthread_t t;

	ready = hits[0] = 0;
	CHECK(pipe(fds) == 0);
	CHECK(pthread_create(&t, NULL, blocked_reader, NULL) == 0);
	await(&ready, 1);
	usleep(20000); // so that it sits in read
	CHECK(pthread_kill(t, SIGUSR1) == 0);
	await(&interrupted, 1);
	CHECK(hits[0] == 1);
	CHECK(pthread_join(t, NULL) == 0);
}

static void *waiter(void *arg)
{
	int sig;

	CHECK(sigwait(arg, &sig) == 0 && sig == SIGTERM);
	return (void *)1;
}

// A signal to the process goes to the one thread that has not blocked it.
static void process_directed(void)
{
	pthread_t t;
	sigset_t set;
	void *result;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
	CHECK(pthread_create(&t, NULL, waiter, &set) == 0);
	CHECK(kill(getpid(), SIGTERM) == 0);
	CHECK(pthread_join(t, &result) == 0 && result == (void *)1);
	CHECK(syscall(SYS_tgkill, getpid(), 0x3ffffff, SIGTERM) == -1 && errno == ESRCH);
}

int main(void)
{
	struct sigaction sa = { .sa_handler = on_hit };

	CHECK(sigaction(SIGUSR1, &sa, NULL) == 0);
	spinning();
	blocked();
	process_directed();
	puts("thrsignals: ok");
	return 0;
}
