// fcntl(2)'s locks that wait for each other.
#include "print.h"
#include <sys/time.h>

static int p[2], q[2];

static int set(int f, int cmd, int type, long start) {
	struct flock l = {.l_type = type, .l_start = start, .l_len = 1};
	return fcntl(f, cmd, &l);
}

static void two(void) {
	int f = open("lock", O_RDWR | O_CREAT, 0600);
	char c;
	set(f, F_SETLK, F_WRLCK, 0);
	pid_t child = fork();
	if (child == 0) {
		set(f, F_SETLK, F_WRLCK, 1);
		write(p[1], "x", 1);
		int r = set(f, F_SETLKW, F_WRLCK, 0);
		_exit(r == 0 ? 7 : errno);
	}
	read(p[0], &c, 1);
	usleep(200000);
	PRINT(set(f, F_SETLKW, F_WRLCK, 1));
	PRINT(set(f, F_SETLK, F_WRLCK, 1));
	set(f, F_SETLK, F_UNLCK, 0);
	int st;
	waitpid(child, &st, 0);
	SAY("the child", "%d", WEXITSTATUS(st));
	PRINT(set(f, F_SETLKW, F_WRLCK, 1));
	close(f);
}

static void three(void) {
	int f = open("lock", O_RDWR | O_CREAT, 0600);
	char c;
	pid_t child[2];
	set(f, F_SETLK, F_WRLCK, 0);
	for (int i = 0; i < 2; i++)
		if ((child[i] = fork()) == 0) {
			set(f, F_SETLK, F_WRLCK, i + 1);
			write(p[1], "x", 1);
			if (i == 1)
				read(q[0], &c, 1);
			_exit(set(f, F_SETLKW, F_WRLCK, i) == 0 ? 7 : errno);
		}
	read(p[0], &c, 1);
	read(p[0], &c, 1);
	usleep(100000);
	write(q[1], "x", 1);
	usleep(200000);
	PRINT(set(f, F_SETLKW, F_WRLCK, 2));
	set(f, F_SETLK, F_UNLCK, 0);
	for (int i = 0; i < 2; i++) {
		int st;
		waitpid(child[i], &st, 0);
		SAY(i ? "the second child" : "the first child", "%d", WEXITSTATUS(st));
	}
	close(f);
}

// upgrade: two readers that both want to write.
static void upgrade(void) {
	int f = open("lock", O_RDWR | O_CREAT, 0600);
	char c;
	set(f, F_SETLK, F_RDLCK, 0);
	pid_t child = fork();
	if (child == 0) {
		set(f, F_SETLK, F_RDLCK, 0);
		write(p[1], "x", 1);
		_exit(set(f, F_SETLKW, F_WRLCK, 0) == 0 ? 7 : errno);
	}
	read(p[0], &c, 1);
	usleep(200000);
	PRINT(set(f, F_SETLKW, F_WRLCK, 0));
	set(f, F_SETLK, F_UNLCK, 0);
	int st;
	waitpid(child, &st, 0);
	SAY("the reader", "%d", WEXITSTATUS(st));
	close(f);
}

// files: the locks are of two files.
static void files(void) {
	int f = open("lock", O_RDWR | O_CREAT, 0600), g = open("other", O_RDWR | O_CREAT, 0600);
	char c;
	set(f, F_SETLK, F_WRLCK, 0);
	pid_t child = fork();
	if (child == 0) {
		set(g, F_SETLK, F_WRLCK, 0);
		write(p[1], "x", 1);
		_exit(set(f, F_SETLKW, F_WRLCK, 0) == 0 ? 7 : errno);
	}
	read(p[0], &c, 1);
	usleep(200000);
	PRINT(set(g, F_SETLKW, F_WRLCK, 0));
	set(f, F_SETLK, F_UNLCK, 0);
	int st;
	waitpid(child, &st, 0);
	SAY("the child with another file", "%d", WEXITSTATUS(st));
	PRINT(set(g, F_SETLK, F_WRLCK, 0));
	close(f);
	close(g);
}

static void handler(int s) { (void)s; }

// waiting: a lock that somebody gives up, and a wait that a signal ends.
static void waiting(void) {
	int f = open("lock", O_RDWR | O_CREAT, 0600);
	char c;
	pid_t child = fork();
	if (child == 0) {
		set(f, F_SETLK, F_WRLCK, 0);
		write(p[1], "x", 1);
		usleep(300000);
		_exit(0);
	}
	read(p[0], &c, 1);
	struct sigaction a = {.sa_handler = handler};
	sigaction(SIGALRM, &a, 0);
	struct itimerval t = {.it_value = {0, 100000}};
	setitimer(ITIMER_REAL, &t, 0);
	PRINT(set(f, F_SETLKW, F_WRLCK, 0));
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
