// stepclock makes a program's clock move in steps of 4 ms, as a guest's may
// (bench_test.go links it with --wrap=clock_gettime).

#include <time.h>

enum { STEP = 4000000 }; // ns

int __real_clock_gettime(clockid_t clock, struct timespec *t);

int __wrap_clock_gettime(clockid_t clock, struct timespec *t)
{
	int result = __real_clock_gettime(clock, t);

	t->tv_nsec -= t->tv_nsec % STEP;
	return result;
}
