// forkbomb forks as fast as it can under a process limit: fork must fail with
// EAGAIN when the limit is reached, and after the children are gone the
// program must be able to fork again.

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

enum { LIMIT = 50, USER = 12345 };

int main(void)
{
	struct rlimit rl = { LIMIT, LIMIT };
	pid_t children[2 * LIMIT];
	int n = 0;

	// The limit does not bind root.
	CHECK(setrlimit(RLIMIT_NPROC, &rl) == 0);
	CHECK(setgid(USER) == 0 && setuid(USER) == 0);

	for (; n < 2 * LIMIT; n++) {
		pid_t pid = fork();
		if (pid < 0)
			break;
		if (pid == 0) {
			pause();
			_exit(0);
		}
		children[n] = pid;
	}
	CHECK(n < 2 * LIMIT && errno == EAGAIN);
	// On Linux the parent counts, too; gVisor keeps charging it to its old user.
	CHECK(n == LIMIT - 1 || n == LIMIT);

	for (int i = 0; i < n; i++) {
		int status;
		CHECK(kill(children[i], SIGKILL) == 0);
		CHECK(waitpid(children[i], &status, 0) == children[i]);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	}

	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0)
		_exit(3);
	int status;
	CHECK(waitpid(pid, &status, 0) == pid && WEXITSTATUS(status) == 3);
	puts("forkbomb: ok");
	return 0;
}
