// exec checks processes: exec of itself with arguments, environment and
// descriptors, exit statuses, vfork, sessions, orphans, /proc/self.

#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>
#include "check.h"

static char self[4096];

// again runs in the new image.
static int again(char **argv)
{
	if (strcmp(argv[1], "status") == 0)
		return atoi(argv[2]);
	if (strcmp(argv[1], "env") == 0)
		return strcmp(getenv("ONLY"), "this") == 0 && environ[1] == NULL ? 0 : 1;
	if (strcmp(argv[1], "fds") == 0) // argv[2] is open, argv[3] is not
		return fcntl(atoi(argv[2]), F_GETFD) >= 0 && fcntl(atoi(argv[3]), F_GETFD) < 0 ? 0 : 1;
	if (strcmp(argv[1], "sigs") == 0) { // ignored stays, handled does not
		struct sigaction a, b;
		sigaction(SIGUSR1, NULL, &a);
		sigaction(SIGUSR2, NULL, &b);
		return a.sa_handler == SIG_IGN && b.sa_handler == SIG_DFL ? 0 : 1;
	}
	return 99;
}

static int status_of(pid_t pid)
{
	int status;

	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	return status;
}

static int run(const char *what, const char *a, const char *b)
{
	char *const env[] = { "ONLY=this", NULL };
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0) {
		execve(self, (char *[]){ "exec", (char *)what, (char *)a, (char *)b, NULL }, env);
		_exit(98);
	}
	return status_of(pid);
}

static void on_signal(int sig) { (void)sig; }

static void images(void)
{
	char open_fd[16], closed_fd[16];
	int fds[2];

	CHECK(WEXITSTATUS(run("status", "42", NULL)) == 42);
	CHECK(run("env", NULL, NULL) == 0);
	CHECK(pipe(fds) == 0 && fcntl(fds[1], F_SETFD, FD_CLOEXEC) == 0);
	snprintf(open_fd, sizeof open_fd, "%d", fds[0]);
	snprintf(closed_fd, sizeof closed_fd, "%d", fds[1]);
	CHECK(run("fds", open_fd, closed_fd) == 0);
	signal(SIGUSR1, SIG_IGN);
	signal(SIGUSR2, on_signal);
	CHECK(run("sigs", NULL, NULL) == 0);
	CHECK(execl("/no/such/file", "x", NULL) == -1 && errno == ENOENT);
	CHECK(execl("/proc", "x", NULL) == -1 && errno == EACCES);

	// A file that is no program, and a script with an interpreter line.
	int fd = open("/tmp/exec.script", O_WRONLY | O_CREAT | O_TRUNC, 0755);
	CHECK(fd >= 0 && write(fd, "nonsense\n", 9) == 9 && close(fd) == 0);
	CHECK(execl("/tmp/exec.script", "x", NULL) == -1 && errno == ENOEXEC);
	FILE *f = fopen("/tmp/exec.script", "w");
	CHECK(f && fprintf(f, "#!%s status\n", self) > 0 && fclose(f) == 0);
	pid_t pid = fork();
	if (pid == 0) {
		execl("/tmp/exec.script", "script", NULL);
		_exit(98);
	}
	// argv[2] is the script's name: atoi makes it 0.
	CHECK(status_of(pid) == 0);
}

static void endings(void)
{
	siginfo_t si;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (pid == 0)
		abort();
	CHECK(WTERMSIG(status_of(pid)) == SIGABRT);

	pid = vfork();
	if (pid == 0)
		_exit(6);
	CHECK(WEXITSTATUS(status_of(pid)) == 6);

	pid = fork();
	if (pid == 0) {
		raise(SIGSTOP);
		_exit(9);
	}
	CHECK(waitid(P_PID, pid, &si, WSTOPPED) == 0 && si.si_code == CLD_STOPPED);
	CHECK(kill(pid, SIGCONT) == 0);
	CHECK(waitid(P_PID, pid, &si, WEXITED | WNOWAIT) == 0 && si.si_status == 9);
	CHECK(WEXITSTATUS(status_of(pid)) == 9);
	CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);

	// An orphan goes to process 1; its pipe tells when it has ended.
	int fds[2];
	char c;
	CHECK(pipe(fds) == 0);
	pid = fork();
	if (pid == 0) {
		if (fork() == 0) {
			CHECK(setsid() == getpid());
			usleep(10000);
			_exit(write(fds[1], "o", 1) == 1 ? 0 : 1);
		}
		_exit(0);
	}
	CHECK(status_of(pid) == 0 && close(fds[1]) == 0);
	CHECK(read(fds[0], &c, 1) == 1 && c == 'o' && read(fds[0], &c, 1) == 0);
}

static void spawning(void)
{
	char *const argv[] = { "exec", "status", "31", NULL };
	pid_t pid;

	CHECK(posix_spawn(&pid, self, NULL, NULL, argv, environ) == 0);
	CHECK(WEXITSTATUS(status_of(pid)) == 31);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return again(argv);
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	CHECK(n > 0 && self[0] == '/');
	images();
	endings();
	spawning();
	puts("exec: ok");
	return 0;
}
