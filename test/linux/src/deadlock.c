// fcntl(2)'s locks that wait for each other.
#include "print.h"
#include <sys/time.h>

static int p[2], q[2];

static int set(int f, int cmd, int type, long start) {
	struct flock l = {.l_type = type, .l_start = start, .l_len = 1};
	return fcntl(f, cmd, &l);
}

// locks_then_waits starts a process that locks a byte and then waits for another.
static pid_t locks_then_waits(int have, int type, long at, int want, long next) {
	char c;
	pid_t child = fork();
	if (child == 0) {
		set(have, F_SETLK, type, at);
		write(p[1], "x", 1);
		_exit(set(want, F_SETLKW, F_WRLCK, next) == 0 ? 7 : errno);
	}
	read(p[0], &c, 1);
	sleeps(child);
	return child;
}

static void ended(const char *who, pid_t child) {
	int st;
	waitpid(child, &st, 0);
	SAY(who, "%d", WEXITSTATUS(st));
}

static void two(void) {
	int f = open("lock", O_RDWR | O_CREAT, 0600);
	set(f, F_SETLK, F_WRLCK, 0);
	pid_t child = locks_then_waits(f, F_WRLCK, 1, f, 0);
	PRINT(set(f, F_SETLKW, F_WRLCK, 1));
	PRINT(set(f, F_SETLK, F_WRLCK, 1));
	set(f, F_SETLK, F_UNLCK, 0);
	ended("the child", child);
	PRINT(set(f, F_SETLKW, F_WRLCK, 1));
	close(f);
}

static void three(void) {
	int f = open("lock", O_RDWR | O_CREAT, 0600);
	set(f, F_SETLK, F_WRLCK, 0);
	pid_t first = locks_then_waits(f, F_WRLCK, 1, f, 0);
	pid_t second = locks_then_waits(f, F_WRLCK, 2, f, 1);
	PRINT(set(f, F_SETLKW, F_WRLCK, 2));
	set(f, F_SETLK, F_UNLCK, 0);
	ended("the first child", first);
	ended("the second child", second);
	close(f);
}

// upgrade: two readers that both want to write.
static void upgrade(void) {
	int f = open("lock", O_RDWR | O_CREAT, 0600);
	set(f, F_SETLK, F_RDLCK, 0);
	pid_t child = locks_then_waits(f, F_RDLCK, 0, f, 0);
	PRINT(set(f, F_SETLKW, F_WRLCK, 0));
	set(f, F_SETLK, F_UNLCK, 0);
	ended("the reader", child);
	close(f);
}

// files: the locks are of two files.
static void files(void) {
	int f = open("lock", O_RDWR | O_CREAT, 0600), g = open("other", O_RDWR | O_CREAT, 0600);
	set(f, F_SETLK, F_WRLCK, 0);
	pid_t child = locks_then_waits(g, F_WRLCK, 0, f, 0);
	PRINT(set(g, F_SETLKW, F_WRLCK, 0));
	set(f, F_SETLK, F_UNLCK, 0);
	ended("the child with another file", child);
	PRINT(set(g, F_SETLK, F_WRLCK, 0));
	close(f);
	close(g);
}

static void handler(int s) { (void)s; }

// waiting: a wait that a signal ends, and a lock that somebody gives up.
static void waiting(void) {
	int f = open("lock", O_RDWR | O_CREAT, 0600);
	char c;
	pid_t child = fork();
	if (child == 0) {
		set(f, F_SETLK, F_WRLCK, 0);
		write(p[1], "x", 1);
		read(q[0], &c, 1);
		_exit(0);
	}
	read(p[0], &c, 1);
	struct sigaction a = {.sa_handler = handler};
	sigaction(SIGALRM, &a, 0);
	// Again and again: the first may come before the wait.
	struct itimerval soon = {{0, 50000}, {0, 50000}}, none = {0};
	setitimer(ITIMER_REAL, &soon, 0);
	PRINT(set(f, F_SETLKW, F_WRLCK, 0));
	setitimer(ITIMER_REAL, &none, 0);
	write(q[1], "x", 1);
	PRINT(set(f, F_SETLKW, F_WRLCK, 0));
	wait(0);
	close(f);
}

int main(void) {
	pipe(p);
	pipe(q);
	two();
	three();
	upgrade();
	files();
	waiting();
	return 0;
}
