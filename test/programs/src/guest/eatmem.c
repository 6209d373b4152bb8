// eatmem touches new memory without end. The kernel must kill it and live:
// with an argument, the eater is a child and its parent reports how it died.

#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../check.h"

enum { STEP = 1 << 20 };

static void eat(void)
{
	for (;;) {
		char *p = mmap(NULL, STEP, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED)
			_exit(7); // refused rather than killed
		for (int i = 0; i < STEP; i += 4096)
			p[i] = 1;
	}
}

int main(int argc, char **argv)
{
	(void)argv;
	puts("eatmem: eating");
	fflush(stdout);
	if (argc < 2)
		eat();

	int status;
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0)
		eat();
	CHECK(waitpid(child, &status, 0) == child);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	// What the eater held must be there again.
	char *p = malloc(8 << 20);
	CHECK(p != NULL);
	memset(p, 1, 8 << 20);
	puts("eatmem: ok");
	return 0;
}
