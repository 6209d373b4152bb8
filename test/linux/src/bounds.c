// Bounds on what a user or a process may have: limits, pipes, timers and signals,
// inotify instances, locked memory, mappings.
#include "print.h"
#include <dirent.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/types.h>

enum { PAGE = 4096 };

// user returns a user who has nothing yet: a host may run this more than once at
// the same time.
static int user(void) { return 20000 + getpid() % 40000; }

static long setting(const char *path) {
	char text[32] = "";
	int fd = open(path, O_RDONLY);
	if (fd < 0 || read(fd, text, sizeof text - 1) <= 0)
		return -1;
	close(fd);
	return atol(text);
}

// as_user runs fn in a process of a user without rights.
static void as_user(void (*fn)(void)) {
	int who = user();
	pid_t child = fork();
	if (child == 0) {
		if (setgid(who) != 0 || setuid(who) != 0)
			_exit(1);
		fn();
		_exit(0);
	}
	int status;
	waitpid(child, &status, 0);
	PRINT(status);
}

static void allow_files(void) {
	struct rlimit l;
	getrlimit(RLIMIT_NOFILE, &l);
	l.rlim_cur = l.rlim_max;
	setrlimit(RLIMIT_NOFILE, &l);
}

static int set(int resource, long cur, long max) {
	return setrlimit(resource, &(struct rlimit){cur, max});
}

static void limits(void) {
	struct rlimit processes, signals, l;
	getrlimit(RLIMIT_NPROC, &processes);
	getrlimit(RLIMIT_SIGPENDING, &signals);
	long threads = setting("/proc/sys/kernel/threads-max");
	PRINT(processes.rlim_cur == (rlim_t)threads / 2 && processes.rlim_max == processes.rlim_cur);
	PRINT(signals.rlim_cur == (rlim_t)threads / 2 && signals.rlim_max == signals.rlim_cur);
	getrlimit(RLIMIT_MEMLOCK, &l);
	SAY("locked memory", "%ld %ld", (long)l.rlim_cur, (long)l.rlim_max);
	getrlimit(RLIMIT_MSGQUEUE, &l);
	SAY("message queues", "%ld %ld", (long)l.rlim_cur, (long)l.rlim_max);
	static const int settable[] = {RLIMIT_SIGPENDING, RLIMIT_MSGQUEUE, RLIMIT_NICE, RLIMIT_RTTIME, RLIMIT_LOCKS};
	for (unsigned i = 0; i < sizeof settable / sizeof *settable; i++) {
		getrlimit(settable[i], &l);
		PRINT(set(settable[i], l.rlim_cur, l.rlim_max));
		PRINT(set(settable[i], 11, 10));
		PRINT(setrlimit(settable[i], NULL));
	}
	l = (struct rlimit){10, 20};
	PRINT(prlimit(0, RLIMIT_SIGPENDING, &l, &l)); // one structure for both
	PRINT(l.rlim_cur == signals.rlim_cur);
	PRINT(getrlimit(RLIMIT_SIGPENDING, &l));
	SAY("pending signals", "%ld %ld", (long)l.rlim_cur, (long)l.rlim_max);
	PRINT(prlimit(99999999, RLIMIT_SIGPENDING, &l, NULL));
	// What /proc says is the same.
	char line[256];
	FILE *f = fopen("/proc/self/limits", "r");
	while (f && fgets(line, sizeof line, f))
		if (strncmp(line, "Max pending signals", 19) == 0 || strncmp(line, "Max locked memory", 17) == 0)
			SAY("limits", "%.52s", line);
	fclose(f);
}

static void raise_limits(void) {
	PRINT(set(RLIMIT_SIGPENDING, 5, 20));
	PRINT(set(RLIMIT_SIGPENDING, 20, 20));
	PRINT(set(RLIMIT_SIGPENDING, 20, 21));
	PRINT(set(RLIMIT_MSGQUEUE, 100, 1l << 40));
}

static int pipe_pages(void) {
	int p[2];
	return pipe(p) == 0 ? fcntl(p[0], F_GETPIPE_SZ) / PAGE : -1;
}

static void pipes_of_user(void) {
	long soft = setting("/proc/sys/fs/pipe-user-pages-soft");
	int p[2], q[2];
	allow_files();
	pipe(p);
	pipe(q);
	PRINT(fcntl(p[0], F_SETPIPE_SZ, 1 << 20));
	PRINT(fcntl(p[0], F_SETPIPE_SZ, 2 << 20));
	PRINT(fcntl(p[0], F_SETPIPE_SZ, 16 * PAGE));
	int large = 2;
	while (large < soft / 16 && pipe_pages() == 16)
		large++;
	PRINT(large == soft / 16);
	PRINT(pipe_pages() == 16 && soft % 16 >= 14);
	PRINT(pipe_pages());
	PRINT(fcntl(p[0], F_SETPIPE_SZ, 32 * PAGE));
	PRINT(fcntl(p[0], F_SETPIPE_SZ, 8 * PAGE));
	close(q[0]);
	close(q[1]);
	close(p[0]);
	close(p[1]);
	PRINT(pipe_pages());
}

static void pipes(void) {
	int p[2];
	pipe(p);
	PRINT(setting("/proc/sys/fs/pipe-max-size"));
	PRINT(fcntl(p[1], F_SETPIPE_SZ, 0));
	PRINT(fcntl(p[1], F_SETPIPE_SZ, 1));
	PRINT(fcntl(p[1], F_SETPIPE_SZ, 5000));
	PRINT(fcntl(p[1], F_GETPIPE_SZ));
	PRINT(fcntl(p[1], F_SETPIPE_SZ, 100000));
	PRINT(fcntl(p[1], F_SETPIPE_SZ, 0x80000001));
	PRINT(fcntl(p[1], F_SETPIPE_SZ, 1 << 20));
	PRINT(fcntl(0x7fff, F_SETPIPE_SZ, 1));
	PRINT(pipe2(p, 0x4));
	PRINT(pipe(NULL));
	PRINT(syscall(SYS_pipe, 8));
	close(p[0]);
	close(p[1]);
	as_user(pipes_of_user);
}

static void timers(void) {
	timer_t t[20];
	int n = 0;
	set(RLIMIT_SIGPENDING, 10, 10);
	struct sigevent quiet = {.sigev_notify = SIGEV_NONE};
	while (n < 20 && timer_create(CLOCK_MONOTONIC, &quiet, &t[n]) == 0)
		n++;
	SAY("timers", "%d %s", n, strerrorname_np(errno));
	PRINT(timer_delete(t[0]));
	PRINT(timer_create(CLOCK_MONOTONIC, &quiet, &t[0]));
	PRINT(timer_create(CLOCK_MONOTONIC, &quiet, &t[0]));
	sigset_t all;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	union sigval v = {.sival_int = 1};
	PRINT(sigqueue(getpid(), SIGRTMIN, v));
	PRINT(kill(getpid(), SIGRTMIN));
	PRINT(kill(getpid(), SIGUSR1));
	PRINT(sigqueue(getpid(), SIGUSR2, v));
	for (int i = 0; i < 10; i++)
		timer_delete(t[i]);
	n = 0;
	while (n < 20 && sigqueue(getpid(), SIGRTMIN + 1 + n % 3, v) == 0)
		n++;
	SAY("signals after the timers are gone", "%s %s", n >= 6 && n <= 10 ? "some" : "wrong", strerrorname_np(errno));
	PRINT(sigqueue(99999999, SIGRTMIN, v));
	PRINT(sigqueue(1, SIGRTMIN, v));
	PRINT(timer_create(CLOCK_MONOTONIC, &quiet, &t[0]));
	sigset_t one;
	sigemptyset(&one);
	sigaddset(&one, SIGRTMIN + 1);
	PRINT(sigtimedwait(&one, NULL, &(struct timespec){0, 0}) == SIGRTMIN + 1);
	PRINT(timer_create(CLOCK_MONOTONIC, &quiet, &t[0]));
}

static void instances(void) {
	allow_files();
	long most = setting("/proc/sys/fs/inotify/max_user_instances");
	int last = -1, fd, n = 0;
	PRINT(most);
	while (n < 1000 && (fd = inotify_init1(0)) >= 0) {
		last = fd;
		n++;
	}
	SAY("instances", "%d %s", n, strerrorname_np(errno));
	close(last);
	PRINT(inotify_init() >= 0);
	PRINT(inotify_init());
	PRINT(setting("/proc/sys/fs/inotify/max_user_watches") >= 8192);
	PRINT(setting("/proc/sys/fs/epoll/max_user_watches") > 1000);
}

static void locked(void) {
	char *p = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	PRINT(set(RLIMIT_MEMLOCK, 16 * PAGE, 16 * PAGE));
	PRINT(mlock(p, 16 * PAGE));
	PRINT(mlock(p, 17 * PAGE));
	PRINT(mlock2(p + 16 * PAGE, PAGE, MLOCK_ONFAULT));
	PRINT(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0));
	PRINT(munlock(p, 16 * PAGE));
	PRINT(mlockall(MCL_CURRENT));
	PRINT(mlockall(MCL_FUTURE));
	PRINT(mmap(NULL, 32 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	PRINT(mmap(NULL, 2 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
	PRINT(munlockall());
	PRINT(set(RLIMIT_MEMLOCK, 0, 0));
	PRINT(mlock(p, PAGE));
	PRINT(mlockall(MCL_CURRENT));
}

static void processes(void) {
	PRINT(set(RLIMIT_NPROC, 1, 1));
	PRINT(fork());
}

static long mapped(void) {
	char line[512];
	long n = 0;
	FILE *f = fopen("/proc/self/maps", "r");
	while (f && fgets(line, sizeof line, f))
		n += strstr(line, "[vsyscall]") == NULL;
	fclose(f);
	return n;
}

static void *map_one(long n) {
	return mmap(NULL, 2 * PAGE, n % 2 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void mappings(void) {
	long most = setting("/proc/sys/vm/max_map_count"), n = 0;
	mapped(); // what this needs is there from now on
	char *wide = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *last = NULL, *p;
	while (n < 100000 && (p = map_one(n)) != MAP_FAILED) {
		last = p;
		n++;
	}
	SAY("mappings end with", "%s", strerrorname_np(errno));
	PRINT(map_one(n + 1));
	PRINT(munmap(wide + PAGE, PAGE));
	PRINT(mprotect(wide + PAGE, PAGE, PROT_READ));
	PRINT(mprotect(wide, 8 * PAGE, PROT_READ));
	PRINT(mprotect(wide, PAGE, PROT_READ));
	PRINT(munmap(wide + 7 * PAGE, PAGE));
	PRINT(mremap(last, 2 * PAGE, 64 * PAGE, MREMAP_MAYMOVE));
	pid_t child = fork();
	if (child == 0)
		_exit(map_one(n + 1) == MAP_FAILED ? errno : 0);
	int status;
	waitpid(child, &status, 0);
	SAY("mmap in a child", "%s", strerrorname_np(WEXITSTATUS(status)));
	PRINT(munmap(last, 2 * PAGE));
	PRINT(map_one(n - 1) != MAP_FAILED);
	PRINT(map_one(n + 1));
	for (int i = 0; i < 8; i++)
		munmap(wide + i * PAGE, PAGE);
	munmap(last, 2 * PAGE);
	long now = mapped();
	SAY("mappings beside the bound", "%s", now <= most && now >= most - 6 ? "few" : "many");
}

int main(void) {
	pipes();
	as_user(timers);
	as_user(instances);
	as_user(locked);
	as_user(processes);
	limits();
	as_user(raise_limits);
	mappings();
	return 0;
}
