// Sleeps for four seconds by the clock, and tells the date, so that the test can
// compare both with what its own clock shows meanwhile.
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static double now(clockid_t id) {
	struct timespec t;
	clock_gettime(id, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

int main(void) {
	double began = now(CLOCK_MONOTONIC);
	printf("clock %.2f\n", now(CLOCK_REALTIME));
	fflush(stdout);
	for (int i = 0; i < 40; i++)
		usleep(100000);
	double took = now(CLOCK_MONOTONIC) - began;
	printf("clock %.2f\n", now(CLOCK_REALTIME));
	printf("clock: %s\n", took >= 4 ? "ok" : "wrong");
	return took < 4;
}
