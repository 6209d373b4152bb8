// What /proc/PID/status says of signals and of the umask, proc(5): of a process, of
// its threads, and of another process.
#include "print.h"

static void show(const char *what, const char *path) {
	static const char *const names[] = {"Umask:", "SigPnd:", "ShdPnd:", "SigBlk:", "SigIgn:", "SigCgt:"};
	char line[256];
	FILE *f = fopen(path, "r");
	if (f == NULL) {
		printf("%s: %s\n", what, strerrorname_np(errno));
		return;
	}
	while (fgets(line, sizeof line, f))
		for (size_t i = 0; i < sizeof names / sizeof *names; i++)
			if (strncmp(line, names[i], strlen(names[i])) == 0)
				printf("%s, %.*s = %s", what, (int)strlen(names[i]) - 1, line, line + strlen(names[i]) + 1);
	fclose(f);
	fflush(stdout);
}

static void caught(int s) { (void)s; }

static void *thread(void *path) {
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &s, NULL);
	pthread_kill(pthread_self(), SIGUSR2);
	show("a thread", "/proc/thread-self/status");
	snprintf(path, 64, "/proc/self/task/%d/status", (int)gettid());
	show("a thread by its number", path);
	return NULL;
}

int main(int argc, char **argv) {
	(void)argv;
	if (argc > 1) { // what exec leaves
		show("after exec", "/proc/self/status");
		return 0;
	}
	for (int s = 1; s < 65; s++)
		signal(s, SIG_DFL);
	umask(022);
	show("at first", "/proc/self/status");
	umask(0);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGUSR1, caught);
	signal(SIGRTMIN + 3, caught);
	signal(64, SIG_IGN);
	show("actions", "/proc/self/status");
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, SIGTERM);
	sigaddset(&s, SIGUSR1);
	sigaddset(&s, 64);
	sigprocmask(SIG_BLOCK, &s, NULL);
	kill(getpid(), SIGUSR1);
	raise(SIGTERM);
	show("pending", "/proc/self/status");
	umask(0077);
	pthread_t t;
	char path[64], other[64];
	pthread_create(&t, NULL, thread, path);
	pthread_join(t, NULL);
	int p[2];
	if (pipe(p))
		return 1;
	pid_t pid = fork();
	if (pid == 0) {
		char c;
		close(p[1]);
		_exit(read(p[0], &c, 1) != 0);
	}
	snprintf(other, sizeof other, "/proc/%d/status", (int)pid);
	sleeps(pid);
	show("a child", other);
	kill(pid, SIGTERM);
	show("a child with a signal", other);
	snprintf(other, sizeof other, "/proc/self/task/%d/status", (int)getpid());
	show("the main thread", other);
	close(p[1]);
	waitpid(pid, NULL, 0);
	signal(SIGUSR1, SIG_DFL);
	execl("/proc/self/exe", "status", "again", NULL);
	return 1;
}
