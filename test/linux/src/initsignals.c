// Signals to the first process of a PID namespace, and reboot(2) there. The
// namespace is a new one here; e2e signals has the machine's own.
#include "print.h"
#include <linux/reboot.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>

static volatile sig_atomic_t got;

static void handle(int sig) { got = sig; }

static const int signals[] = {SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGABRT, SIGKILL, SIGSEGV, SIGPIPE, SIGALRM, SIGTERM, SIGUSR1, SIGCHLD, SIGCONT, SIGSTOP,
	SIGTSTP, SIGTTIN, SIGURG, SIGSYS, 34, 64};

// child runs f in a child and prints what it exits with.
static void child(const char *what, int (*f)(int), int arg) {
	pid_t pid = fork();
	if (pid == 0)
		_exit(f(arg));
	int status;
	waitpid(pid, &status, 0);
	SAY(what, "%d %d", WIFEXITED(status) ? WEXITSTATUS(status) : -1, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

static int failed(long r) { return r < 0 ? errno : 0; }

static int by_kill(int sig) { return failed(kill(1, sig)); }
static int by_tkill(int sig) { return failed(syscall(SYS_tkill, 1, sig)); }
static int by_tgkill(int sig) { return failed(syscall(SYS_tgkill, 1, 1, sig)); }
static int by_queue(int sig) { return failed(sigqueue(1, sig, (union sigval){0})); }
static int by_pidfd(int sig) { return failed(pidfd_send_signal(pidfd_open(1, 0), sig, 0, 0)); }
static int by_group(int sig) {
	signal(sig, SIG_IGN); // the sender is in the group
	return failed(kill(0, sig));
}
static int by_all(int sig) { return failed(kill(-1, sig)) == ESRCH; } // nobody is there to get it
static int by_another_user(int sig) {
	if (setuid(1000))
		return 99;
	return failed(kill(1, sig));
}

static void *waiter(void *set) {
	int sig = 0;
	sigwait(set, &sig);
	return (void *)(long)sig;
}

static void first(void) {
	static int (*const ways[])(int) = {by_kill, by_tkill, by_tgkill, by_queue, by_pidfd, by_group, by_all};
	static const char *const names[] = {"kill", "tkill", "tgkill", "sigqueue", "pidfd_send_signal", "kill of the group", "kill of all"};
	for (unsigned w = 0; w < sizeof ways / sizeof *ways; w++)
		for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++) {
			int uncaught = signals[i] == SIGKILL || signals[i] == SIGSTOP;
			if (ways[w] == by_group && uncaught)
				continue;
			char line[64];
			snprintf(line, sizeof line, "%s, signal %d", names[w], signals[i]);
			child(line, ways[w], signals[i]);
		}
	child("kill by another user", by_another_user, SIGTERM);
	child("kill 0", by_kill, 0);
	child("kill 65", by_kill, 65);
	// What init handles, or waits for, it gets.
	signal(SIGTERM, handle);
	child("handled", by_kill, SIGTERM);
	SAY("got", "%d", got);
	signal(SIGTERM, SIG_IGN);
	child("ignored", by_kill, SIGTERM);
	signal(SIGTERM, SIG_DFL);
	child("by default again", by_kill, SIGTERM);
	sigset_t usr2, pending;
	sigemptyset(&usr2);
	sigaddset(&usr2, SIGUSR2);
	sigprocmask(SIG_BLOCK, &usr2, 0);
	child("blocked", by_kill, SIGUSR2);
	sigpending(&pending);
	SAY("pending", "%d", sigismember(&pending, SIGUSR2));
	SAY("sigwait gives", "%ld", (long)waiter(&usr2));
	pthread_t thread;
	pthread_create(&thread, 0, waiter, &usr2);
	usleep(300000);
	child("waited for", by_kill, SIGUSR2);
	void *sig;
	pthread_join(thread, &sig);
	SAY("the thread got", "%ld", (long)sig);
	SAY("init lives", "%d", getpid());
	fflush(stdout);
}

// in_namespace runs f as the first process of a new namespace, and prints how it
// ended.
static void in_namespace(const char *what, void (*f)(long), long arg) {
	pid_t outer = fork();
	if (outer == 0) {
		if (unshare(CLONE_NEWPID))
			_exit(98);
		pid_t pid = fork();
		if (pid == 0) {
			setpgid(0, 0);
			f(arg);
			_exit(7);
		}
		int status;
		waitpid(pid, &status, 0);
		SAY(what, "%d %d", WIFEXITED(status) ? WEXITSTATUS(status) : -1, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
		_exit(0);
	}
	waitpid(outer, 0, 0);
}

static void begin(long unused) { first(); }

static void restart(long command) {
	signal(SIGHUP, SIG_IGN);
	PRINT(syscall(SYS_reboot, 1, LINUX_REBOOT_MAGIC2, command, 0));
	PRINT(syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, 1, command, 0));
	PRINT(syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, 77, 0));
	PRINT(syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_CAD_OFF, 0));
	PRINT(syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_SW_SUSPEND, 0));
	syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2C, command, 0);
	pause();
}

static void other(long unused) {
	if (setuid(1000))
		_exit(99);
	PRINT(syscall(SYS_reboot, 1, 2, 3, 0));
}

int main(void) {
	in_namespace("first", begin, 0);
	in_namespace("restart", restart, LINUX_REBOOT_CMD_RESTART);
	in_namespace("restart 2", restart, LINUX_REBOOT_CMD_RESTART2);
	in_namespace("power off", restart, LINUX_REBOOT_CMD_POWER_OFF);
	in_namespace("halt", restart, LINUX_REBOOT_CMD_HALT);
	in_namespace("another user", other, 0);
	return 0;
}
