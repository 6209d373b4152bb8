// threads checks pthreads: creation in numbers, thread-local storage, mutex,
// condition, barrier, semaphore, read-write lock, once, futexes between
// processes, cancellation, and robust mutexes.

#define _GNU_SOURCE
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

enum { MANY = 64, ROUNDS = 200 };

static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn_changed = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int counter, turn, once_runs;
static __thread int local = 17;

static void count_once(void) { once_runs++; }

static void *adder(void *arg)
{
	int id = (int)(intptr_t)arg;

	CHECK(local == 17);
	local = id;
	CHECK(pthread_once(&once, count_once) == 0);
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < ROUNDS; i++) {
		pthread_mutex_lock(&mu);
		counter++;
		pthread_mutex_unlock(&mu);
	}
	CHECK(local == id);
	return (void *)(intptr_t)(id * 2);
}

static void many(void)
{
	pthread_t t[MANY];
	void *result;

	CHECK(pthread_barrier_init(&barrier, NULL, MANY) == 0);
	for (intptr_t i = 0; i < MANY; i++)
		CHECK(pthread_create(&t[i], NULL, adder, (void *)i) == 0);
	for (intptr_t i = 0; i < MANY; i++)
		CHECK(pthread_join(t[i], &result) == 0 && (intptr_t)result == i * 2);
	CHECK(counter == MANY * ROUNDS && once_runs == 1 && local == 17);
}

// player hands the turn to and fro: each hand-over is a futex wake and wait.
static void *player(void *arg)
{
	int me = (int)(intptr_t)arg;

	for (int i = 0; i < ROUNDS; i++) {
		pthread_mutex_lock(&mu);
		while (turn != me)
			pthread_cond_wait(&turn_changed, &mu);
		turn = !me;
		pthread_cond_broadcast(&turn_changed);
		pthread_mutex_unlock(&mu);
	}
	return NULL;
}

static void ping_pong(void)
{
	pthread_t a, b;

	CHECK(pthread_create(&a, NULL, player, (void *)0) == 0);
	CHECK(pthread_create(&b, NULL, player, (void *)1) == 0);
	CHECK(pthread_join(a, NULL) == 0 && pthread_join(b, NULL) == 0 && turn == 0);
}

static void timed_wait(void)
{
	struct timespec until;
	sem_t sem;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += 20 * 1000 * 1000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&mu);
	CHECK(pthread_cond_timedwait(&turn_changed, &mu, &until) == ETIMEDOUT);
	pthread_mutex_unlock(&mu);
	CHECK(sem_init(&sem, 0, 0) == 0);
	CHECK(sem_timedwait(&sem, &until) == -1 && errno == ETIMEDOUT);
	CHECK(sem_post(&sem) == 0 && sem_wait(&sem) == 0);
}

static long futex(uint32_t *word, int op, uint32_t val, uint32_t val3)
{
	return syscall(SYS_futex, word, op, val, NULL, NULL, val3);
}

// between_processes wakes a child's wait in memory that both share.
static void between_processes(void)
{
	uint32_t *word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status;

	CHECK(word != MAP_FAILED);
	CHECK(futex(word, FUTEX_WAIT, 1, 0) == -1 && errno == EAGAIN);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		while (__atomic_load_n(word, __ATOMIC_SEQ_CST) == 0)
			futex(word, FUTEX_WAIT, 0, 0);
		_exit(5);
	}
	usleep(10000);
	__atomic_store_n(word, 1, __ATOMIC_SEQ_CST);
	futex(word, FUTEX_WAKE, 1, 0);
	CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 5);
	CHECK(futex(word, FUTEX_WAKE_BITSET, 1, 2) == 0);
}

static void *sleeper(void *arg)
{
	(void)arg;
	while (pause() == -1) // a cancellation point
		;
	return NULL;
}

static void *die_holding(void *m)
{
	pthread_mutex_lock(m);
	return NULL;
}

static void cancel_and_robust(void)
{
	pthread_mutexattr_t attr;
	pthread_mutex_t m;
	pthread_t t;
	void *result;

	CHECK(pthread_create(&t, NULL, sleeper, NULL) == 0);
	usleep(5000);
	CHECK(pthread_cancel(t) == 0);
	CHECK(pthread_join(t, &result) == 0 && result == PTHREAD_CANCELED);

	CHECK(pthread_mutexattr_init(&attr) == 0);
	CHECK(pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST) == 0);
	CHECK(pthread_mutex_init(&m, &attr) == 0);
	CHECK(pthread_create(&t, NULL, die_holding, &m) == 0);
	CHECK(pthread_join(t, NULL) == 0);
	CHECK(pthread_mutex_lock(&m) == EOWNERDEAD);
	CHECK(pthread_mutex_consistent(&m) == 0 && pthread_mutex_unlock(&m) == 0);
}

int main(void)
{
	many();
	ping_pong();
	timed_wait();
	between_processes();
	cancel_and_robust();
	puts("threads: ok");
	return 0;
}
