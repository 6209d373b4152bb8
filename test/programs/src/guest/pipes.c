// Has a child fill pipes of 1 MB until it cannot. Prints how it ended.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static char block[65536];

int main(void) {
	struct rlimit all = {1000000, 1000000};
	int status;
	setrlimit(RLIMIT_NOFILE, &all);
	if (fork() == 0) {
		int p[2];
		while (pipe2(p, O_NONBLOCK) == 0) {
			fcntl(p[1], F_SETPIPE_SZ, 1 << 20);
			while (write(p[1], block, sizeof block) > 0)
				;
		}
		_exit(0);
	}
	wait(&status);
	printf("child %#x, parent lives\n", status);
	return 0;
}
