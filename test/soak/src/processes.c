// Programs that are executed, and threads that are joined.

#include "soak.h"

static void execute(long n)
{
	(void)n;
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		execl("/proc/self/exe", "soak", "true", (char *)NULL);
		_exit(127);
	}
	int status;
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(status == 0);
}

const struct work programs = {"programs", NULL, execute, 0};

static void *thread(void *n) { return n; }

static void join(long n)
{
	pthread_t t;
	void *result;
	CHECK((errno = pthread_create(&t, NULL, thread, (void *)n)) == 0);
	CHECK((errno = pthread_join(t, &result)) == 0);
	CHECK(result == (void *)n);
}

const struct work threads = {"threads", NULL, join, 0};
