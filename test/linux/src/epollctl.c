// epoll_ctl(2): operations, descriptors, events, exclusive and nested ones.
#include "print.h"
#include <limits.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

static int ep;

static int ctl(int op, int fd, unsigned events) {
	struct epoll_event e = {.events = events, .data.fd = fd};
	return epoll_ctl(ep, op, fd, &e);
}

static int wait_now(int epoll) {
	struct epoll_event out[8];
	return epoll_wait(epoll, out, 8, 0);
}

// each prints a result for every event that epoll knows, and some that it does not.
static void each(const char *what, int op, int fd, unsigned with) {
	for (int bit = 0; bit < 32; bit++) {
		char line[64];
		errno = 0;
		int r = ctl(op, fd, 1u << bit | with);
		snprintf(line, sizeof line, "%s, bit %d", what, bit);
		result(line, r);
		if (op == EPOLL_CTL_ADD && r == 0)
			ctl(EPOLL_CTL_DEL, fd, 0);
	}
}

static void operations(void) {
	int p[2];
	pipe(p);
	struct epoll_event e = {.events = EPOLLIN};
	PRINT(epoll_create(0));
	PRINT(epoll_create(-1));
	PRINT(epoll_create1(1));
	PRINT(epoll_create1(~EPOLL_CLOEXEC));
	PRINT(epoll_ctl(ep, EPOLL_CTL_DEL, p[0], &e));
	PRINT(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &e));
	PRINT(epoll_ctl(ep, 0, p[0], &e));
	PRINT(epoll_ctl(ep, 4, p[0], &e));
	PRINT(epoll_ctl(ep, INT_MIN, p[0], &e));
	PRINT(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
	PRINT(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
	PRINT(epoll_ctl(ep, EPOLL_CTL_ADD, ep, &e));
	PRINT(epoll_ctl(ep, EPOLL_CTL_MOD, ep, &e));
	PRINT(epoll_ctl(ep, EPOLL_CTL_DEL, ep, &e));
	// What is looked at first.
	PRINT(epoll_ctl(ep, EPOLL_CTL_ADD, p[1], 0));
	PRINT(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], 0));
	PRINT(epoll_ctl(-1, EPOLL_CTL_ADD, p[1], 0));
	PRINT(epoll_ctl(-1, EPOLL_CTL_ADD, -1, &e));
	PRINT(epoll_ctl(p[0], EPOLL_CTL_ADD, -1, &e));
	PRINT(epoll_ctl(p[0], EPOLL_CTL_ADD, p[1], &e));
	PRINT(epoll_ctl(p[0], EPOLL_CTL_ADD, p[0], &e));
	PRINT(epoll_ctl(ep, 7, -1, 0));
	PRINT(epoll_ctl(ep, 7, p[1], 0));
	int file = open("/proc/self/exe", O_RDONLY), dir = open("/", O_RDONLY), path = open("/", O_PATH);
	PRINT(epoll_ctl(ep, EPOLL_CTL_ADD, file, &e));
	PRINT(epoll_ctl(ep, EPOLL_CTL_DEL, file, &e));
	PRINT(epoll_ctl(ep, EPOLL_CTL_ADD, dir, &e));
	PRINT(epoll_ctl(ep, EPOLL_CTL_ADD, path, &e));
	PRINT(epoll_ctl(ep, 9, file, &e));
	int null = open("/dev/null", O_RDWR), zero = open("/dev/zero", O_RDWR), memory = memfd_create("m", 0);
	PRINT(epoll_ctl(ep, EPOLL_CTL_ADD, null, &e));
	PRINT(epoll_ctl(ep, EPOLL_CTL_ADD, zero, &e));
	PRINT(epoll_ctl(ep, EPOLL_CTL_ADD, memory, &e));
	PRINT(epoll_ctl(ep, EPOLL_CTL_DEL, p[0], 0));
	PRINT(epoll_ctl(ep, EPOLL_CTL_DEL, p[0], 0));
	struct epoll_event out;
	PRINT(epoll_wait(ep, &out, 0, 0));
	PRINT(epoll_wait(ep, &out, -1, 0));
	PRINT(epoll_wait(ep, &out, INT_MAX, 0));
	PRINT(epoll_wait(p[0], &out, 1, 0));
	PRINT(epoll_wait(-1, &out, 1, 0));
	PRINT(epoll_wait(ep, 0, 1, 0));
	PRINT(lseek(ep, 5, SEEK_SET));
	PRINT(read(ep, &out, 1));
	PRINT(write(ep, &out, 1));
	PRINT(pread(ep, &out, 1, 0));
	struct stat st;
	PRINT(fstat(ep, &st));
	PRINT(st.st_mode);
	close(p[0]), close(p[1]), close(file), close(dir), close(path), close(null), close(zero), close(memory);
}

static void exclusive(void) {
	int fd = eventfd(0, 0), other = epoll_create1(0);
	each("add", EPOLL_CTL_ADD, fd, 0);
	each("add exclusive", EPOLL_CTL_ADD, fd, EPOLLEXCLUSIVE);
	PRINT(ctl(EPOLL_CTL_ADD, other, EPOLLEXCLUSIVE | EPOLLIN));
	PRINT(ctl(EPOLL_CTL_ADD, other, EPOLLIN));
	PRINT(ctl(EPOLL_CTL_DEL, other, EPOLLEXCLUSIVE));
	PRINT(ctl(EPOLL_CTL_ADD, fd, EPOLLIN));
	each("mod", EPOLL_CTL_MOD, fd, 0);
	PRINT(ctl(EPOLL_CTL_MOD, fd, EPOLLEXCLUSIVE | EPOLLIN));
	PRINT(ctl(EPOLL_CTL_DEL, fd, EPOLLEXCLUSIVE));
	PRINT(ctl(EPOLL_CTL_MOD, fd, EPOLLEXCLUSIVE | EPOLLIN));
	PRINT(ctl(EPOLL_CTL_ADD, fd, EPOLLEXCLUSIVE | EPOLLIN));
	PRINT(ctl(EPOLL_CTL_MOD, fd, EPOLLIN));
	PRINT(ctl(EPOLL_CTL_MOD, fd, EPOLLEXCLUSIVE | EPOLLIN));
	PRINT(ctl(EPOLL_CTL_MOD, fd, 0));
	PRINT(ctl(EPOLL_CTL_ADD, fd, EPOLLIN));
	PRINT(wait_now(ep));
	PRINT(eventfd_write(fd, 1));
	PRINT(wait_now(ep));
	PRINT(ctl(EPOLL_CTL_DEL, fd, 0));
	PRINT(wait_now(ep));
	// The number may be another file's then.
	PRINT(ctl(EPOLL_CTL_ADD, fd, EPOLLEXCLUSIVE | EPOLLIN));
	int keep = dup(fd);
	close(fd);
	PRINT(ctl(EPOLL_CTL_MOD, fd, EPOLLIN));
	PRINT(dup2(keep, fd) == fd);
	PRINT(ctl(EPOLL_CTL_MOD, fd, EPOLLIN));
	PRINT(dup2(other, fd) == fd);
	PRINT(ctl(EPOLL_CTL_MOD, fd, EPOLLIN));
	PRINT(ctl(EPOLL_CTL_ADD, fd, EPOLLIN));
	close(keep);
	PRINT(ctl(EPOLL_CTL_DEL, fd, 0));
	close(fd), close(other);
	fd = eventfd(0, 0);
	PRINT(ctl(EPOLL_CTL_ADD, fd, EPOLLIN));
	PRINT(ctl(EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLONESHOT));
	PRINT(eventfd_write(fd, 1));
	PRINT(wait_now(ep));
	PRINT(wait_now(ep));
	PRINT(ctl(EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLET));
	PRINT(wait_now(ep));
	PRINT(wait_now(ep));
	PRINT(eventfd_write(fd, 1));
	PRINT(wait_now(ep));
	close(fd);
	PRINT(wait_now(ep));
}

static void nested(void) {
	enum { deep = 8 };
	int e[deep], fd = eventfd(1, 0);
	struct epoll_event in = {.events = EPOLLIN};
	for (int i = 0; i < deep; i++)
		e[i] = epoll_create1(0);
	for (int i = 0; i + 1 < deep; i++) {
		char line[32];
		snprintf(line, sizeof line, "instance %d in %d", i + 1, i);
		errno = 0;
		result(line, epoll_ctl(e[i], EPOLL_CTL_ADD, e[i + 1], &in));
	}
	PRINT(epoll_ctl(e[1], EPOLL_CTL_ADD, e[0], &in));
	PRINT(epoll_ctl(e[2], EPOLL_CTL_ADD, e[0], &in));
	PRINT(epoll_ctl(e[3], EPOLL_CTL_ADD, fd, &in));
	for (int i = 0; i < deep; i++) {
		char line[32];
		snprintf(line, sizeof line, "events of instance %d", i);
		result(line, wait_now(e[i]));
		close(e[i]);
	}
	close(fd);
}

int main(void) {
	ep = epoll_create1(EPOLL_CLOEXEC);
	operations();
	exclusive();
	nested();
	return 0;
}
