// huge: every system call with one argument far larger than can be meant: a
// descriptor, a count, a size. Linux refuses it, or does less than was asked;
// it makes nothing of that size. As root and as user 1000, in a machine of its
// own: the machine goes on, and each process ends when it is told to.

#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "../check.h"

#define LEN(a) (sizeof (a) / sizeof *(a))

enum {
	CALLS = 470,
	LIMIT = 3,     // s for one kind of call
	PATIENCE = 20, // s in which a process must end that was told to
};

static const uint64_t sizes[] = {
	0x7fffffff, 1 << 26, 1 << 20, 0xfffffff0, 1ull << 40,
};

// excluded are calls whose purpose is to end the machine or the program, to stop
// it, or to signal others.
static int excluded(long nr)
{
	switch (nr) {
	case SYS_reboot: case SYS_exit: case SYS_exit_group: case SYS_vfork: case SYS_fork: case SYS_clone:
	case SYS_kexec_load: case SYS_kexec_file_load: case SYS_pause: case SYS_rt_sigsuspend: case SYS_rt_sigreturn:
	case SYS_kill: case SYS_tkill: case SYS_tgkill: case SYS_rt_sigqueueinfo: case SYS_rt_tgsigqueueinfo:
	case SYS_vhangup: case SYS_alarm: case SYS_munmap: case SYS_execve: case SYS_execveat: case SYS_syslog:
		return 1;
	}
	return 0;
}

static char zeros[1 << 16], path[] = "/tmp/huge.file";

// descriptors opens one of each kind.
static int descriptors(int *fd)
{
	int n = 0, pair[2];

	fd[n++] = open(path, O_RDWR | O_CREAT, 0666);
	fd[n++] = open("/tmp", O_RDONLY | O_DIRECTORY);
	fd[n++] = open("/proc", O_RDONLY | O_DIRECTORY);
	fd[n++] = open("/proc/self/mem", O_RDWR);
	fd[n++] = open("/proc/self/pagemap", O_RDONLY);
	fd[n++] = open("/dev/zero", O_RDWR);
	fd[n++] = memfd_create("huge", 0);
	fd[n++] = socket(AF_INET, SOCK_STREAM, 0);
	fd[n++] = socket(AF_INET, SOCK_DGRAM, 0);
	fd[n++] = socket(AF_NETLINK, SOCK_RAW, 0);
	socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair);
	fd[n++] = pair[0];
	socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair);
	fd[n++] = pair[0];
	pipe2(pair, O_NONBLOCK);
	fd[n++] = pair[0];
	fd[n++] = pair[1];
	fd[n++] = epoll_create1(0);
	fd[n++] = eventfd(0, EFD_NONBLOCK);
	fd[n++] = inotify_init1(IN_NONBLOCK);
	fd[n++] = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	return n;
}

static void wake(int signal) { (void)signal; }

// call makes one kind of call in all ways with the first count sizes, and never
// returns.
static void call(long nr, unsigned count)
{
	struct itimerval soon = {.it_value = {.tv_usec = 100000}, .it_interval = {.tv_usec = 2000}};
	struct sigaction interrupt = {.sa_handler = wake};
	int null = open("/dev/null", O_RDWR), fd[32], n = descriptors(fd);
	char *large = mmap(NULL, 1ul << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	long z = (long)zeros, l = (long)large;

	for (int i = 0; i < 3; i++)
		dup2(null, i);
	// What blocks is interrupted, again and again.
	sigaction(SIGALRM, &interrupt, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	for (unsigned s = 0; s < count; s++) {
		for (int position = 0; position < 6; position++) {
			for (int kind = 0; kind < 5 + 2 * n; kind++) {
				long ways[][6] = {
					{0, 0, 0, 0, 0, 0}, {z, 16, z, 16, z, 16}, {1, z, 1, z, 1, z},
					{l, 16, l, 16, l, 16}, {(long)path, z, 16, z, 16, 0},
				}, a[6];
				if (kind < 5)
					memcpy(a, ways[kind], sizeof a);
				else if (kind < 5 + n)
					memcpy(a, (long[]){fd[kind - 5], z, 16, z, 16, 0}, sizeof a);
				else
					memcpy(a, (long[]){fd[kind - 5 - n], l, 16, l, 16, 0}, sizeof a);
				a[position] = sizes[s];
				syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
			}
		}
	}
	_exit(0);
}

// gone waits until a child has ended, and returns its status.
static int gone(pid_t child, long nr, int seconds)
{
	struct timespec nap = {.tv_nsec = 2000000};
	int status;

	for (long naps = 0; naps < seconds * 500; naps++) {
		if (waitpid(child, &status, WNOHANG) == child)
			return status;
		nanosleep(&nap, NULL);
	}
	kill(child, SIGKILL);
	for (long naps = 0; naps < PATIENCE * 500; naps++) {
		if (waitpid(child, &status, WNOHANG) == child)
			return status;
		nanosleep(&nap, NULL);
	}
	printf("huge: call %ld: process %d does not end\n", nr, child);
	exit(1);
}

static void as_user(int user, unsigned count)
{
	struct rlimit files = {1 << 20, 1 << 20};
	int killed = 0, calls = 0;

	for (long nr = 0; nr < CALLS; nr++) {
		if (excluded(nr))
			continue;
		pid_t child = fork();
		CHECK(child >= 0);
		if (child == 0) {
			(void)!setrlimit(RLIMIT_NOFILE, &files);
			if (user != 0 && (setgid(user) != 0 || setuid(user) != 0))
				_exit(1);
			setpgid(0, 0);
			call(nr, count);
		}
		int status = gone(child, nr, LIMIT);
		killed += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
		calls++;
		kill(-child, SIGKILL); // what clone3 made
		unlink(path);
	}
	printf("huge: user %d: %d calls, of which %d ended with SIGKILL\n", user, calls, killed);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	if (argc == 2)
		call(atol(argv[1]), LEN(sizes)); // one kind of call
	as_user(1000, LEN(sizes));
	as_user(0, 2); // what only root may call
	puts("huge: ok");
	return 0;
}
