// A program that runs is not written to.
#include "print.h"

static void copy(const char *to) {
	char b[65536];
	int n, in = open("/proc/self/exe", O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0755);
	while ((n = read(in, b, sizeof b)) > 0)
		write(out, b, n);
	close(in);
	close(out);
}

int main(int argc, char **argv) {
	(void)argv;
	if (argc > 1)
		pause();
	copy("program");
	int started[2];
	char c;
	pipe2(started, O_CLOEXEC);
	pid_t child = fork();
	if (child == 0) {
		execl("./program", "program", "wait", (char *)0);
		_exit(errno);
	}
	close(started[1]);
	read(started[0], &c, 1); // until execve has closed the other end
	close(started[0]);
	OK(open("program", O_RDONLY));
	OK(open("program", O_WRONLY));
	OK(open("program", O_RDWR));
	OK(open("program", O_RDWR | O_TRUNC));
	OK(open("program", O_RDONLY | O_TRUNC));
	OK(open("program", O_WRONLY | O_CREAT, 0755));
	OK(open("program", O_WRONLY | O_PATH));
	PRINT(truncate("program", 0));
	PRINT(chmod("program", 0700));
	PRINT(link("program", "linked"));
	OK(open("linked", O_WRONLY));
	PRINT(rename("program", "renamed"));
	OK(open("renamed", O_WRONLY));
	PRINT(unlink("linked"));
	char path[50];
	snprintf(path, sizeof path, "/proc/%d/exe", child);
	int exe = open(path, O_RDONLY);
	PRINT(exe >= 0);
	close(exe);
	exe = open(path, O_WRONLY);
	SAY("/proc/PID/exe for writing", "%s", exe < 0 ? strerrorname_np(errno) : "open");
	PRINT(unlink("renamed"));
	kill(child, SIGKILL);
	int st;
	waitpid(child, &st, 0);
	SAY("the program", "signal %d", WTERMSIG(st));

	copy("program");
	OK(open("program", O_WRONLY));
	return 0;
}
