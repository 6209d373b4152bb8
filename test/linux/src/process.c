// Priorities, and what processes ask of each other.
#include "print.h"
#include <sys/prctl.h>
#include <sys/resource.h>

static void priorities(void) {
	static const int set[] = {0, 5, 19, 20, 1000, -5, -20, -21, -1000};
	char what[100];
	for (unsigned i = 0; i < sizeof set / sizeof *set; i++) {
		snprintf(what, sizeof what, "setpriority %d", set[i]);
		errno = 0;
		result(what, setpriority(PRIO_PROCESS, 0, set[i]));
		errno = 0;
		snprintf(what, sizeof what, "getpriority after %d", set[i]);
		int r = getpriority(PRIO_PROCESS, 0);
		SAY(what, "%d %s", r, errno ? strerrorname_np(errno) : "");
	}
	PRINT(setpriority(PRIO_PROCESS, 0, 0));
	PRINT(setpriority(9, 0, 0));
	PRINT(getpriority(9, 0));
	PRINT(setpriority(PRIO_PROCESS, 99999, 0));
	PRINT(getpriority(PRIO_PROCESS, 99999));
	PRINT(setpriority(PRIO_PGRP, 99999, 0));
	PRINT(getpriority(PRIO_PGRP, 0));
	PRINT(getpriority(PRIO_USER, 0) <= 0);
	PRINT(getpriority(PRIO_USER, 54321));
	PRINT(nice(3));
	PRINT(nice(100));
	PRINT(nice(-100));
	PRINT(setpriority(PRIO_PROCESS, 0, 0));
	if (fork() == 0) {
		setuid(1000);
		PRINT(nice(-1));
		PRINT(nice(1));
		PRINT(setpriority(PRIO_PROCESS, 0, 0));
		PRINT(setpriority(PRIO_PROCESS, 0, 5));
		PRINT(setpriority(PRIO_PROCESS, getppid(), 5));
		_exit(0);
	}
	wait(0);
}

static void others(void) {
	PRINT(kill(getpid(), 0));
	PRINT(kill(99999, 0));
	PRINT(kill(getpid(), 65));
	PRINT(kill(getpid(), -1));
	PRINT(syscall(SYS_tgkill, 99999, gettid(), 0));
	PRINT(syscall(SYS_tgkill, getpid(), 99999, 0));
	PRINT(syscall(SYS_tgkill, -1, -1, 0));
	PRINT(syscall(SYS_tkill, 0, 0));
	PRINT(getpgid(99999));
	PRINT(getsid(99999));
	PRINT(setpgid(99999, 0));
	PRINT(setpgid(0, -1));
	PRINT(setpgid(0, 99999));
	PRINT(waitpid(-1, 0, 0));
	PRINT(waitpid(99999, 0, 0));
	PRINT(waitpid(-1, 0, 0x100000));
	PRINT(waitid(P_ALL, 0, 0, 0));
	PRINT(waitid(99, 0, 0, WEXITED));
	PRINT(waitid(P_ALL, 0, 0, WEXITED));
	PRINT(prctl(PR_SET_PDEATHSIG, 65));
	PRINT(prctl(PR_SET_NAME, 0));
	PRINT(prctl(PR_GET_DUMPABLE));
	PRINT(prctl(PR_SET_DUMPABLE, 2));
	PRINT(prctl(PR_SET_NO_NEW_PRIVS, 2, 0, 0, 0));
	PRINT(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	PRINT(prctl(9999));
	PRINT(umask(022) >= 0);
	PRINT(getrusage(9, 0));
	struct rlimit l = {10, 5};
	PRINT(setrlimit(RLIMIT_NOFILE, &l));
	PRINT(setrlimit(99, &l));
	PRINT(getrlimit(99, &l));
}

int main(void) {
	priorities();
	others();
	return 0;
}
