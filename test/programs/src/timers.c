// timers checks clocks, sleeps and every kind of timer. Lower bounds are
// exact; upper bounds are wide, because an emulated machine may be slow.

#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include "check.h"

enum { MS = 1000000, LATE = 5000 }; // MS in ns, LATE in ms

static volatile sig_atomic_t rings;

static void on_ring(int sig)
{
	(void)sig;
	rings++;
}

static int64_t now(clockid_t clock)
{
	struct timespec t;

	CHECK(clock_gettime(clock, &t) == 0);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static void in_range(int64_t since, int64_t low_ms)
{
	int64_t ms = (now(CLOCK_MONOTONIC) - since) / MS;

	CHECK(ms >= low_ms && ms < low_ms + LATE);
}

static void clocks(void)
{
	static const clockid_t ids[] = { CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_BOOTTIME,
					 CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID };

	for (unsigned i = 0; i < sizeof ids / sizeof *ids; i++) {
		int64_t last = now(ids[i]);
		for (int k = 0; k < 2000; k++) {
			int64_t t = now(ids[i]);
			CHECK(t >= last);
			last = t;
		}
	}
	// The wall clock must be right to the year, and agree with time(2).
	int64_t wall = now(CLOCK_REALTIME) / 1000 / MS;
	CHECK(wall > 1735689600); // 2025-01-01
	CHECK(time(NULL) - wall <= 2 && time(NULL) >= wall - 1);
}

static void sleeps(void)
{
	int64_t t = now(CLOCK_MONOTONIC);
	struct timespec d = { 0, 30 * MS }, abs;

	CHECK(nanosleep(&d, NULL) == 0);
	in_range(t, 30);
	CHECK(clock_gettime(CLOCK_MONOTONIC, &abs) == 0);
	t = now(CLOCK_MONOTONIC);
	abs.tv_nsec += 30 * MS;
	abs.tv_sec += abs.tv_nsec / 1000000000;
	abs.tv_nsec %= 1000000000;
	CHECK(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &abs, NULL) == 0);
	CHECK(now(CLOCK_MONOTONIC) >= abs.tv_sec * INT64_C(1000000000) + abs.tv_nsec);
}

static void await_rings(int n)
{
	int64_t t = now(CLOCK_MONOTONIC);

	while (rings < n) {
		usleep(1000);
		in_range(t, 0);
	}
}

static void interval(void)
{
	struct itimerval it = { { 0, 10000 }, { 0, 20000 } }, left;
	int64_t t = now(CLOCK_MONOTONIC);

	rings = 0;
	CHECK(setitimer(ITIMER_REAL, &it, NULL) == 0);
	await_rings(3);
	in_range(t, 40);
	memset(&it, 0, sizeof it);
	CHECK(setitimer(ITIMER_REAL, &it, &left) == 0 && left.it_interval.tv_usec == 10000);

	// CPU time: the timer may ring only while this program computes.
	it.it_value.tv_usec = 20000;
	rings = 0;
	CHECK(setitimer(ITIMER_VIRTUAL, &it, NULL) == 0);
	t = now(CLOCK_MONOTONIC);
	while (rings == 0)
		in_range(t, 0);
}

static void posix_timer(void)
{
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM };
	struct itimerspec its = { { 0, 10 * MS }, { 0, 10 * MS } }, left;
	timer_t timer;

	rings = 0;
	CHECK(timer_create(CLOCK_MONOTONIC, &ev, &timer) == 0);
	CHECK(timer_settime(timer, 0, &its, NULL) == 0);
	await_rings(3);
	CHECK(timer_gettime(timer, &left) == 0 && left.it_interval.tv_nsec == 10 * MS);
	CHECK(timer_delete(timer) == 0);
}

static void alarm_interrupts_sleep(void)
{
	struct timespec d = { 60, 0 }, rest;
	int64_t t = now(CLOCK_MONOTONIC);

	rings = 0;
	alarm(1);
	CHECK(nanosleep(&d, &rest) == -1 && errno == EINTR && rings == 1);
	CHECK(rest.tv_sec >= 50 && rest.tv_sec <= 59);
	in_range(t, 1000);
}

int main(void)
{
	struct sigaction sa = { .sa_handler = on_ring };

	CHECK(sigaction(SIGALRM, &sa, NULL) == 0);
	CHECK(sigaction(SIGVTALRM, &sa, NULL) == 0);
	clocks();
	sleeps();
	interval();
	posix_timer();
	alarm_interrupts_sleep();
	puts("timers: ok");
	return 0;
}
