// Modes that make descriptors of all kinds, and fill what is behind them.

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>
#include "mode.h"

static void pipes(int size, int filled)
{
	for (;; ++*made) {
		int p[2];
		if (pipe2(p, O_NONBLOCK) != 0)
			hold("pipe");
		if (size)
			fcntl(p[1], F_SETPIPE_SZ, size); // a smaller one serves as well
		while (filled && write(p[1], block, 64 << 10) > 0)
			;
	}
}

static void pipes_empty(void) { pipes(0, 0); }
static void pipes_full(void) { pipes(0, 1); }
static void pipes_big(void) { pipes(MB, 1); }

static void fifos(void)
{
	for (;; ++*made) {
		const char *path = numbered("/dev/shm/%ld", *made);
		if (mkfifo(path, 0600) != 0)
			hold("mkfifo");
		int fd = open(path, O_RDWR | O_NONBLOCK);
		if (fd < 0)
			hold("open");
		while (write(fd, block, 64 << 10) > 0)
			;
	}
}

// spliced fills pipes with pages of a file, or of the program.
static void spliced(void)
{
	int file = open("/dev/shm/spliced", O_CREAT | O_RDWR, 0600);
	if (write(file, block, MB) != (ssize_t)MB)
		hold("write");
	for (;; ++*made) {
		int p[2];
		if (pipe2(p, O_NONBLOCK) != 0)
			hold("pipe");
		for (loff_t at = 0; splice(file, &at, p[1], NULL, MB, SPLICE_F_NONBLOCK) > 0; at = 0)
			;
	}
}

static void vmspliced(void)
{
	for (;; ++*made) {
		int p[2];
		if (pipe2(p, O_NONBLOCK) != 0)
			hold("pipe");
		struct iovec v = {block, MB};
		while (vmsplice(p[1], &v, 1, SPLICE_F_NONBLOCK) > 0)
			;
	}
}

static void teed(void)
{
	int from[2];
	if (pipe2(from, O_NONBLOCK) != 0)
		hold("pipe");
	while (write(from[1], block, 64 << 10) > 0)
		;
	for (;; ++*made) {
		int p[2];
		if (pipe2(p, O_NONBLOCK) != 0)
			hold("pipe");
		if (tee(from[0], p[1], MB, SPLICE_F_NONBLOCK) < 0 && errno != EAGAIN)
			hold("tee");
	}
}

static void duplicates(void)
{
	for (;; ++*made)
		if (dup(0) < 0)
			hold("dup");
}

// FILE_KEPT is a mode that keeps what CALL returns.
#define FILE_KEPT(NAME, CALL)                                               \
	static void NAME(void)                                              \
	{                                                                   \
		for (;; ++*made)                                            \
			if ((CALL) < 0)                                     \
				hold(#NAME);                                \
	}

FILE_KEPT(opened, open("/", O_RDONLY))
FILE_KEPT(opened_null, open("/dev/null", O_RDONLY))
FILE_KEPT(eventfds, eventfd(1, 0))
FILE_KEPT(epolls, epoll_create1(0))
FILE_KEPT(inotifies, inotify_init1(0))
FILE_KEPT(pidfds, syscall(SYS_pidfd_open, getpid(), 0))

static void timerfds(void)
{
	for (;; ++*made) {
		int fd = timerfd_create(CLOCK_MONOTONIC, 0);
		if (fd < 0)
			hold("timerfd_create");
		struct itimerspec t = {{10, 0}, {10, 0}};
		timerfd_settime(fd, 0, &t, NULL);
	}
}

static void signalfds(void)
{
	sigset_t all;
	sigfillset(&all);
	for (;; ++*made)
		if (signalfd(-1, &all, 0) < 0)
			hold("signalfd");
}

// epoll_watches has each of a number of instances watch each of many descriptors.
static void epoll_watches(void)
{
	enum { WATCHED = 500 };
	int watched[WATCHED];
	for (int i = 0; i < WATCHED; i++)
		if ((watched[i] = eventfd(0, 0)) < 0)
			hold("eventfd");
	for (;;) {
		int e = epoll_create1(0);
		if (e < 0)
			hold("epoll_create");
		for (int i = 0; i < WATCHED; i++, ++*made)
			if (epoll_ctl(e, EPOLL_CTL_ADD, watched[i], &(struct epoll_event){.events = EPOLLIN}) != 0)
				hold("epoll_ctl");
	}
}

static void epoll_nested(void)
{
	int last = eventfd(0, 0);
	for (;; ++*made) {
		int e = epoll_create1(0);
		if (e < 0)
			hold("epoll_create");
		if (epoll_ctl(e, EPOLL_CTL_ADD, last, &(struct epoll_event){.events = EPOLLIN}) != 0) {
			if (errno != ELOOP && errno != EINVAL)
				hold("epoll_ctl");
			last = eventfd(0, 0); // as deep as it goes: another chain
		} else {
			last = e;
		}
	}
}

static void inotify_watches(void)
{
	int fd = inotify_init1(0);
	for (;; ++*made) {
		const char *path = numbered("/dev/shm/%ld", *made);
		close(open(path, O_CREAT | O_RDWR, 0600));
		if (inotify_add_watch(fd, path, IN_ALL_EVENTS) < 0)
			hold("inotify_add_watch");
	}
}

// inotify_events makes events that nobody reads, and that cannot be merged.
static void inotify_events(void)
{
	int fd = inotify_init1(0);
	if (inotify_add_watch(fd, "/dev/shm", IN_ALL_EVENTS) < 0)
		hold("inotify_add_watch");
	for (;; ++*made) {
		const char *path = numbered("/dev/shm/a-name-as-long-as-one-likes-%ld", *made);
		int made_fd = open(path, O_CREAT | O_RDWR, 0600);
		if (made_fd < 0)
			hold("open");
		close(made_fd);
		unlink(path);
	}
}

static void ptys(void)
{
	for (;; ++*made) {
		int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK);
		if (master < 0)
			hold("ptmx");
		unlockpt(master);
		char name[64];
		if (ptsname_r(master, name, sizeof name) != 0)
			hold("ptsname");
		int slave = open(name, O_RDWR | O_NOCTTY | O_NONBLOCK);
		if (slave < 0)
			hold("open");
		for (int i = 0; i < 16; i++) // what does not fit is refused or dropped
			if (write(slave, block, 4096) < 0 && write(master, block, 4096) < 0)
				break;
	}
}

// proc_readers keeps files of /proc open whose content is half read.
static void proc_readers(void)
{
	for (int i = 0; i < 200; i++)
		if (mmap(NULL, PAGE, i % 2 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
			hold("mmap");
	char c[10];
	for (;; ++*made) {
		int fd = open("/proc/self/maps", O_RDONLY);
		if (fd < 0)
			hold("open");
		if (read(fd, c, sizeof c) < 0)
			hold("read");
	}
}

const struct mode descriptor_modes[] = {
	{"pipes-empty", pipes_empty},
	{"pipes-full", pipes_full},
	{"pipes-big", pipes_big},
	{"fifos", fifos},
	{"splice", spliced},
	{"vmsplice", vmspliced},
	{"tee", teed},
	{"dup", duplicates},
	{"open", opened},
	{"open-null", opened_null},
	{"eventfd", eventfds},
	{"pidfd", pidfds},
	{"timerfd", timerfds},
	{"signalfd", signalfds},
	{"epoll", epolls},
	{"epoll-watches", epoll_watches},
	{"epoll-nested", epoll_nested},
	{"inotify", inotifies},
	{"inotify-watches", inotify_watches},
	{"inotify-events", inotify_events},
	{"ptys", ptys},
	{"proc-readers", proc_readers},
	{0},
};
