// prlimit(2) of processes that are not there, and the order of its errors.
#include "print.h"
#include <sys/resource.h>

static int old(pid_t pid, int resource) {
	struct rlimit l;
	return prlimit(pid, resource, NULL, &l);
}

static int set(pid_t pid, rlim_t soft, rlim_t hard) {
	struct rlimit l = {soft, hard};
	return prlimit(pid, RLIMIT_CORE, &l, NULL);
}

int main(void) {
	PRINT(old(0, RLIMIT_AS));
	PRINT(old(getpid(), RLIMIT_AS));
	PRINT(old(-1, RLIMIT_AS));
	PRINT(old(-2147483647 - 1, RLIMIT_AS));
	PRINT(old(2147483647, RLIMIT_AS));
	PRINT(old(-1, 99));
	PRINT(old(2147483647, 99));
	PRINT(old(0, -1));
	PRINT(set(-1, 0, 0));
	PRINT(set(0, 2, 1));
	PRINT(prlimit(-1, RLIMIT_AS, (void *)1, NULL));
	PRINT(prlimit(-1, RLIMIT_AS, NULL, (void *)1));
	PRINT(prlimit(0, RLIMIT_AS, NULL, (void *)1));
}
