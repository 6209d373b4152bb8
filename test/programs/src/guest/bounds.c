// bounds: what root writes to the bounds below /proc/sys holds from then on, and
// nobody else may write there. It wants a machine of its own.

#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../check.h"

enum { PAGE = 4096 };

static long get(const char *path)
{
	char text[32] = "";
	int fd = open(path, O_RDONLY);

	CHECK(fd >= 0 && read(fd, text, sizeof text - 1) > 0);
	close(fd);
	return atol(text);
}

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), e;

	if (fd < 0)
		return errno;
	e = write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : errno;
	close(fd);
	return e;
}

// as_user runs fn in a process of user 1000.
static void as_user(void (*fn)(void))
{
	int status;
	pid_t child = fork();

	CHECK(child >= 0);
	if (child == 0) {
		CHECK(setgid(1000) == 0 && setuid(1000) == 0);
		fn();
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static const char *const settings[] = {
	"/proc/sys/fs/pipe-user-pages-soft", "/proc/sys/fs/pipe-user-pages-hard", "/proc/sys/fs/pipe-max-size",
	"/proc/sys/fs/inotify/max_user_instances", "/proc/sys/fs/inotify/max_user_watches",
	"/proc/sys/fs/epoll/max_user_watches", "/proc/sys/fs/aio-max-nr", "/proc/sys/fs/file-max", "/proc/sys/vm/max_map_count",
};

static void cannot_write(void)
{
	for (unsigned i = 0; i < sizeof settings / sizeof *settings; i++) {
		get(settings[i]);
		CHECK(put(settings[i], "1") == EACCES);
	}
}

static void files(void)
{
	for (unsigned i = 0; i < sizeof settings / sizeof *settings; i++) {
		struct stat st;
		char before[32];
		int fd;

		CHECK(stat(settings[i], &st) == 0 && st.st_mode == (S_IFREG | 0644) && st.st_uid == 0);
		snprintf(before, sizeof before, "%ld\n", get(settings[i]));
		CHECK(put(settings[i], "x") == EINVAL);
		CHECK(put(settings[i], "-1") == EINVAL);
		CHECK(put(settings[i], "99999999999999999999") == EINVAL);
		CHECK(put(settings[i], "1 2") == EINVAL);
		CHECK((fd = open(settings[i], O_WRONLY)) >= 0);
		CHECK(pwrite(fd, "1", 1, 1) == -1 && errno == EINVAL);
		close(fd);
		CHECK(put(settings[i], before) == 0 && get(settings[i]) == atol(before));
		CHECK(put(settings[i], "8192") == 0 && get(settings[i]) == 8192);
		CHECK(put(settings[i], before) == 0);
	}
	as_user(cannot_write);
}

// watches: root is bounded like any other.
static void watches(void)
{
	int in = inotify_init1(IN_NONBLOCK), ep = epoll_create1(0), fd[6];
	char path[32];
	struct epoll_event e = {.events = EPOLLIN};

	for (int i = 0; i < 6; i++) {
		snprintf(path, sizeof path, "/tmp/watched%d", i);
		CHECK((fd[i] = open(path, O_CREAT | O_RDWR, 0600)) >= 0);
		close(fd[i]);
	}
	CHECK(put("/proc/sys/fs/inotify/max_user_watches", "3") == 0);
	for (int i = 0; i < 3; i++) {
		snprintf(path, sizeof path, "/tmp/watched%d", i);
		CHECK(inotify_add_watch(in, path, IN_ALL_EVENTS) > 0);
	}
	CHECK(inotify_add_watch(in, "/tmp/watched3", IN_ALL_EVENTS) == -1 && errno == ENOSPC);
	CHECK(unlink("/tmp/watched0") == 0); // its watch goes
	CHECK(inotify_add_watch(in, "/tmp/watched3", IN_ALL_EVENTS) > 0);
	CHECK(inotify_add_watch(in, "/tmp/watched4", IN_ALL_EVENTS) == -1 && errno == ENOSPC);
	close(in);
	CHECK(put("/proc/sys/fs/inotify/max_user_instances", "1") == 0);
	CHECK((in = inotify_init()) >= 0);
	CHECK(inotify_init() == -1 && errno == EMFILE);
	CHECK(inotify_add_watch(in, "/tmp/watched4", IN_ALL_EVENTS) > 0);

	CHECK(put("/proc/sys/fs/epoll/max_user_watches", "5") == 0);
	for (int i = 0; i < 6; i++) {
		CHECK((fd[i] = eventfd(0, 0)) >= 0);
		CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, fd[i], &e) == (i < 5 ? 0 : -1));
	}
	CHECK(errno == ENOSPC);
	CHECK(epoll_ctl(ep, EPOLL_CTL_MOD, fd[0], &e) == 0);
	close(fd[0]);
	CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, fd[5], &e) == 0);
	CHECK(epoll_ctl(ep, EPOLL_CTL_DEL, fd[1], &e) == 0);
	CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, fd[1], &e) == 0);
	close(ep);
	CHECK(epoll_create1(0) >= 0);
}

static int pages(int *p)
{
	return pipe(p) == 0 ? fcntl(p[0], F_GETPIPE_SZ) / PAGE : -1;
}

static void few_pipes(void)
{
	int p[40][2], n = 0;

	CHECK(pages(p[n++]) == 16 && pages(p[n++]) == 16);
	while (n < 40 && pages(p[n]) == 2)
		n++;
	CHECK(errno == ENFILE && n == 2 + (64 - 32) / 2);
	CHECK(write(p[n - 1][1], p, sizeof p) == sizeof p); // a small one works
	CHECK(fcntl(p[5][0], F_SETPIPE_SZ, 4 * PAGE) == -1 && errno == EPERM);
	close(p[0][0]);
	CHECK(pages(p[n]) == -1 && errno == ENFILE); // its other end is open
	close(p[0][1]);
	CHECK(pages(p[n]) == 2);
	CHECK(put("/proc/self/limits", "x") != 0);
}

static void small_pipes(void)
{
	int p[2];

	CHECK(pages(p) == 2);
	CHECK(fcntl(p[0], F_SETPIPE_SZ, 3 * PAGE) == -1 && errno == EPERM);
}

static void pipes(void)
{
	int p[2];

	CHECK(put("/proc/sys/fs/pipe-user-pages-soft", "32") == 0);
	CHECK(put("/proc/sys/fs/pipe-user-pages-hard", "64") == 0);
	as_user(few_pipes);
	as_user(few_pipes); // the first user's are gone
	for (int i = 0; i < 10; i++)
		CHECK(pages(p) == 16); // not for root
	CHECK(put("/proc/sys/fs/pipe-user-pages-soft", "0") == 0); // no bound
	CHECK(put("/proc/sys/fs/pipe-user-pages-hard", "0") == 0);
	CHECK(put("/proc/sys/fs/pipe-max-size", "5000") == 0);
	CHECK(get("/proc/sys/fs/pipe-max-size") == 8192);
	as_user(small_pipes);
	CHECK(pages(p) == 16);
}

static void mappings(void)
{
	int n = 0;

	CHECK(put("/proc/sys/vm/max_map_count", "200") == 0);
	while (n < 1000 && mmap(NULL, PAGE, n % 2 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
		n++;
	CHECK(errno == ENOMEM && n > 100 && n <= 200);
	CHECK(put("/proc/sys/vm/max_map_count", "300") == 0);
	CHECK(mmap(NULL, PAGE, n % 2 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
}

static long setup(unsigned events, unsigned long *id)
{
	*id = 0;
	return syscall(SYS_io_setup, events, id);
}

static void asynchronous(void)
{
	unsigned long id, other;
	pid_t child;

	CHECK(put("/proc/sys/fs/aio-max-nr", "100") == 0 && get("/proc/sys/fs/aio-nr") == 0);
	CHECK(setup(60, &id) == 0 && get("/proc/sys/fs/aio-nr") == 60);
	CHECK(setup(41, &other) == -1 && errno == EAGAIN);
	CHECK(setup(1u << 31, &other) == -1 && errno == EINVAL);
	CHECK(setup(40, &other) == 0 && get("/proc/sys/fs/aio-nr") == 100);
	CHECK(syscall(SYS_io_destroy, id) == 0 && get("/proc/sys/fs/aio-nr") == 40);
	CHECK(syscall(SYS_io_destroy, other) == 0);
	CHECK((child = fork()) >= 0);
	if (child == 0)
		_exit(setup(100, &id) == 0 ? 0 : errno); // which goes with it
	CHECK(waitpid(child, NULL, 0) == child && setup(100, &id) == 0);
	CHECK(syscall(SYS_io_destroy, id) == 0);
}

static void few_files(void)
{
	int n = 0, fd, last = -1, p[2];

	while (n < 1000 && (fd = open("/dev/null", O_RDONLY)) >= 0) {
		last = fd;
		n++;
	}
	CHECK(errno == ENFILE && n > 50 && n <= 100);
	CHECK(socket(AF_UNIX, SOCK_STREAM, 0) == -1 && errno == ENFILE);
	CHECK(eventfd(0, 0) == -1 && errno == ENFILE);
	close(last);
	CHECK(pipe(p) == -1 && errno == ENFILE);
	CHECK(dup(0) >= 0); // is no file
	CHECK(eventfd(0, 0) >= 0);
}

static void open_files(void)
{
	for (int fd = 3; fd < 100; fd++)
		close(fd);
	CHECK(put("/proc/sys/fs/file-max", "100") == 0 && get("/proc/sys/fs/file-nr") > 0);
	as_user(few_files);
	as_user(few_files);
	for (int i = 0; i < 150; i++)
		CHECK(eventfd(0, 0) >= 0); // not for root
	CHECK(put("/proc/sys/fs/file-max", "9223372036854775807") == 0);
	CHECK(get("/proc/sys/fs/mqueue/queues_max") == 256 && get("/proc/sys/fs/mqueue/msg_max") == 10);
}

int main(void)
{
	files();
	asynchronous();
	open_files();
	watches();
	pipes();
	mappings();
	puts("bounds: ok");
	return 0;
}
