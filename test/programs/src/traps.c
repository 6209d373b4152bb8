// traps checks what a C library and its kernel owe a program around main, and
// what tends to be missing where they are built anew: constructors and
// destructors in order, thread-local variables, the timed and typed parts of
// pthreads, CPU time, and unmapping in part.

#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/times.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

enum { THREADS = 10, PAGE = 4096 };

// order is what ran before main, a letter each.
static char order[16];
static int placed, main_done, destroyed;

// In the file they stand in another order than their priorities say.
__attribute__((constructor)) static void plain(void) { order[placed++] = 'd'; }
__attribute__((constructor(300))) static void third(void) { order[placed++] = 'c'; }
__attribute__((constructor(101))) static void first(void) { order[placed++] = 'a'; }
__attribute__((constructor(200))) static void second(void) { order[placed++] = 'b'; }

// Destructors run in the reverse order, and after what atexit was given.
__attribute__((destructor)) static void gone_plain(void) { CHECK(main_done && destroyed++ == 2); }
__attribute__((destructor(300))) static void gone_third(void) { CHECK(destroyed++ == 3); }
__attribute__((destructor(101))) static void gone_first(void)
{
	CHECK(destroyed++ == 4);
	// Standard output may be closed by now: say it without.
	CHECK(write(1, "traps: ok\n", 10) == 10);
}

static void at_exit_first(void) { CHECK(destroyed++ == 1); }
static void at_exit_last(void) { CHECK(destroyed++ == 0); }

// Thread-local variables: with a value, without, large and aligned.
static __thread int valued = 42;
static __thread char *zeroed;
static __thread char large[3 * PAGE] = "large";
static __thread struct { char c; } __attribute__((aligned(64))) aligned;

static pthread_barrier_t barrier;
static uintptr_t addresses[THREADS];

static void *uses_locals(void *arg)
{
	int id = (int)(intptr_t)arg;

	CHECK(valued == 42 && zeroed == NULL && strcmp(large, "large") == 0 && large[sizeof large - 1] == 0);
	CHECK((uintptr_t)&aligned % 64 == 0);
	addresses[id] = (uintptr_t)&valued;
	valued += id;
	zeroed = (char *)arg;
	memset(large, 'a' + id, sizeof large);
	pthread_barrier_wait(&barrier);
	for (size_t i = 0; i < sizeof large; i += 97)
		CHECK(large[i] == 'a' + id);
	CHECK(valued == 42 + id && zeroed == (char *)arg);
	pthread_barrier_wait(&barrier); // all are alive until here
	return NULL;
}

static void thread_locals(void)
{
	pthread_t t[THREADS];

	CHECK(pthread_barrier_init(&barrier, NULL, THREADS) == 0);
	for (intptr_t i = 0; i < THREADS; i++)
		CHECK(pthread_create(&t[i], NULL, uses_locals, (void *)i) == 0);
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
	for (int i = 0; i < THREADS; i++)
		for (int k = 0; k < i; k++)
			CHECK(addresses[i] != addresses[k]);
	CHECK(valued == 42 && strcmp(large, "large") == 0);
}

static struct timespec in_ms(clockid_t clock, long ms)
{
	struct timespec t;

	CHECK(clock_gettime(clock, &t) == 0);
	t.tv_nsec += ms * 1000000;
	t.tv_sec += t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	return t;
}

static double since(struct timespec from)
{
	struct timespec now;

	CHECK(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
	return (now.tv_sec - from.tv_sec) + (now.tv_nsec - from.tv_nsec) / 1e9;
}

static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
static int turn;

static void *wants_mutex(void *arg)
{
	struct timespec until = in_ms(CLOCK_REALTIME, 30);

	(void)arg;
	CHECK(pthread_mutex_trylock(&mu) == EBUSY);
	CHECK(pthread_mutex_timedlock(&mu, &until) == ETIMEDOUT);
	return NULL;
}

static void *takes_turn(void *arg)
{
	struct timespec until = in_ms(CLOCK_MONOTONIC, 20000);

	(void)arg;
	CHECK(pthread_mutex_lock(&mu) == 0);
	while (turn == 0)
		CHECK(pthread_cond_timedwait(&changed, &mu, &until) == 0);
	turn++;
	CHECK(pthread_mutex_unlock(&mu) == 0);
	return NULL;
}

static void mutex_of_type(int type, int again)
{
	pthread_mutexattr_t attr;
	pthread_mutex_t m;

	CHECK(pthread_mutexattr_init(&attr) == 0 && pthread_mutexattr_settype(&attr, type) == 0);
	CHECK(pthread_mutex_init(&m, &attr) == 0);
	CHECK(pthread_mutex_lock(&m) == 0);
	CHECK(pthread_mutex_lock(&m) == again);
	if (again == 0)
		CHECK(pthread_mutex_unlock(&m) == 0);
	CHECK(pthread_mutex_unlock(&m) == 0 && pthread_mutex_unlock(&m) == EPERM);
	CHECK(pthread_mutex_destroy(&m) == 0 && pthread_mutexattr_destroy(&attr) == 0);
}

static void mutexes_and_conditions(void)
{
	pthread_condattr_t attr;
	struct timespec until, began;
	pthread_t t, many[4];

	mutex_of_type(PTHREAD_MUTEX_RECURSIVE, 0);
	mutex_of_type(PTHREAD_MUTEX_ERRORCHECK, EDEADLK);

	CHECK(pthread_mutex_lock(&mu) == 0);
	CHECK(pthread_create(&t, NULL, wants_mutex, NULL) == 0 && pthread_join(t, NULL) == 0);

	// A wait by the monotonic clock, which nobody ends: it lasts its time.
	CHECK(pthread_condattr_init(&attr) == 0 && pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
	CHECK(pthread_cond_init(&changed, &attr) == 0);
	CHECK(clock_gettime(CLOCK_MONOTONIC, &began) == 0);
	until = in_ms(CLOCK_MONOTONIC, 60);
	CHECK(pthread_cond_timedwait(&changed, &mu, &until) == ETIMEDOUT);
	CHECK(since(began) >= 0.059);
	CHECK(pthread_cond_timedwait(&changed, &mu, &began) == ETIMEDOUT); // the past
	CHECK(pthread_mutex_unlock(&mu) == 0);

	for (int i = 0; i < 4; i++)
		CHECK(pthread_create(&many[i], NULL, takes_turn, NULL) == 0);
	CHECK(pthread_mutex_lock(&mu) == 0);
	turn = 1;
	CHECK(pthread_cond_broadcast(&changed) == 0 && pthread_mutex_unlock(&mu) == 0);
	for (int i = 0; i < 4; i++)
		CHECK(pthread_join(many[i], NULL) == 0);
	CHECK(turn == 5);
}

static pthread_key_t key, other;
static int key_ends, other_ends;

static void key_end(void *v)
{
	CHECK(pthread_getspecific(key) == NULL);
	__atomic_fetch_add(&key_ends, 1, __ATOMIC_SEQ_CST);
	// A destructor may set another key, whose destructor runs in turn.
	CHECK(pthread_setspecific(other, v) == 0);
}

static void other_end(void *v)
{
	(void)v;
	__atomic_fetch_add(&other_ends, 1, __ATOMIC_SEQ_CST);
}

static void *uses_key(void *arg)
{
	CHECK(pthread_getspecific(key) == NULL);
	CHECK(pthread_setspecific(key, arg) == 0);
	usleep(1000);
	CHECK(pthread_getspecific(key) == arg);
	return NULL;
}

static void keys(void)
{
	pthread_t t[THREADS];

	CHECK(pthread_key_create(&key, key_end) == 0 && pthread_key_create(&other, other_end) == 0);
	for (intptr_t i = 0; i < THREADS; i++)
		CHECK(pthread_create(&t[i], NULL, uses_key, (void *)(i + 1)) == 0);
	for (int i = 0; i < THREADS; i++)
		CHECK(pthread_join(t[i], NULL) == 0);
	CHECK(key_ends == THREADS && other_ends == THREADS);
	CHECK(pthread_key_delete(key) == 0 && pthread_key_delete(other) == 0);
}

// cpu_time computes until times() says that it took 30 ms of CPU time.
static void cpu_time(void)
{
	long hz = sysconf(_SC_CLK_TCK);
	struct tms before, after;
	struct rusage usage;
	struct timespec own, slept, began;
	clock_t start = times(&before);

	CHECK(hz == 100 && start != (clock_t)-1);
	CHECK(clock_gettime(CLOCK_MONOTONIC, &began) == 0);
	do {
		for (volatile int i = 0; i < 100000; i++)
			;
		CHECK(times(&after) >= start);
		CHECK(since(began) < 60);
	} while (after.tms_utime + after.tms_stime - before.tms_utime - before.tms_stime < 3);
	CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
	CHECK(usage.ru_utime.tv_sec * 100 + usage.ru_utime.tv_usec / 10000 >= after.tms_utime - 1);

	// Sleeping takes time, but no CPU time.
	CHECK(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own) == 0);
	usleep(200000);
	CHECK(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &slept) == 0);
	CHECK((slept.tv_sec - own.tv_sec) * 1000 + (slept.tv_nsec - own.tv_nsec) / 1000000 < 150);
}

// mapped reports whether the page at p is, without touching it.
static int mapped(char *p)
{
	unsigned char in_core;

	return mincore(p, PAGE, &in_core) == 0;
}

// unmapping takes pieces from the front, the middle and the end.
static void unmapping(void)
{
	char *p = mmap(NULL, 10 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	for (int i = 0; i < 10; i++)
		p[i * PAGE] = i + 1;
	CHECK(munmap(p, PAGE) == 0 && munmap(p + 4 * PAGE, 2 * PAGE) == 0 && munmap(p + 9 * PAGE, PAGE) == 0);
	for (int i = 0; i < 10; i++) {
		int gone = i == 0 || i == 4 || i == 5 || i == 9;
		CHECK(mapped(p + i * PAGE) == !gone);
		if (!gone)
			CHECK(p[i * PAGE] == i + 1);
	}
	// A hole is no obstacle, and may be filled again, with zeroes.
	CHECK(mmap(p + 4 * PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p + 4 * PAGE);
	CHECK(p[4 * PAGE] == 0 && p[3 * PAGE] == 4);
	CHECK(munmap(p, 10 * PAGE) == 0 && !mapped(p + 4 * PAGE));
	CHECK(munmap(p + 1, PAGE) == -1 && errno == EINVAL);
}

int main(void)
{
	CHECK(strcmp(order, "abcd") == 0);
	thread_locals();
	mutexes_and_conditions();
	keys();
	cpu_time();
	unmapping();
	CHECK(atexit(at_exit_first) == 0 && atexit(at_exit_last) == 0);
	main_done = 1;
	return 0;
}
