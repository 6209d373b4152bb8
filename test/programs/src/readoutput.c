// readoutput opens its standard output for reading, by its name in /proc, and
// reads. It may fail, or wait for bytes that do not come; but whoever waits
// can be killed.

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

int main(void)
{
	pid_t child = fork();

	CHECK(child >= 0);
	if (child == 0) {
		char c;
		int fd = open("/proc/self/fd/1", O_RDONLY);
		_exit(fd < 0 || read(fd, &c, 1) < 0);
	}
	usleep(300000);
	kill(child, SIGKILL);
	for (int i = 0; i < 2000; i++) {
		pid_t p = waitpid(child, NULL, WNOHANG);

		CHECK(p >= 0);
		if (p == child) {
			puts("readoutput: ok");
			return 0;
		}
		usleep(10000);
	}
	puts("readoutput: a child that reads cannot be killed");
	return 1;
}
