// events checks what event loops are built of: epoll (level, edge, one-shot),
// poll, select, eventfd, timerfd and signalfd.

#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include "check.h"

static int ep;

static void watch(int op, int fd, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.fd = fd };

	CHECK(epoll_ctl(ep, op, fd, &ev) == 0);
}

// next returns the descriptor that is ready within ms, or -1.
static int next(int ms, uint32_t *events)
{
	struct epoll_event ev;
	int n = epoll_wait(ep, &ev, 1, ms);

	CHECK(n >= 0);
	if (events)
		*events = n ? ev.events : 0;
	return n ? ev.data.fd : -1;
}

static void pipes(void)
{
	int fds[2];
	uint32_t events;
	char c;

	CHECK(pipe2(fds, O_NONBLOCK) == 0);
	CHECK(read(fds[0], &c, 1) == -1 && errno == EAGAIN);
	watch(EPOLL_CTL_ADD, fds[0], EPOLLIN);
	CHECK(next(0, NULL) == -1);
	CHECK(write(fds[1], "xy", 2) == 2);
	CHECK(next(1000, NULL) == fds[0] && next(0, NULL) == fds[0]); // level
	watch(EPOLL_CTL_MOD, fds[0], EPOLLIN | EPOLLET);
	CHECK(next(0, NULL) == fds[0] && next(0, NULL) == -1); // edge
	CHECK(write(fds[1], "z", 1) == 1 && next(0, NULL) == fds[0]);
	watch(EPOLL_CTL_MOD, fds[0], EPOLLIN | EPOLLONESHOT);
	CHECK(next(0, NULL) == fds[0] && next(0, NULL) == -1); // one-shot
	watch(EPOLL_CTL_MOD, fds[0], EPOLLIN);
	CHECK(close(fds[1]) == 0);
	CHECK(next(0, &events) == fds[0] && (events & EPOLLHUP));
	CHECK(epoll_ctl(ep, EPOLL_CTL_DEL, fds[0], NULL) == 0 && next(0, NULL) == -1);
	CHECK(close(fds[0]) == 0);
}

static void event_fd(void)
{
	int fd = eventfd(3, EFD_NONBLOCK), sem = eventfd(2, EFD_NONBLOCK | EFD_SEMAPHORE);
	uint64_t v = 4;

	CHECK(fd >= 0 && sem >= 0);
	watch(EPOLL_CTL_ADD, fd, EPOLLIN);
	CHECK(write(fd, &v, 8) == 8 && next(0, NULL) == fd);
	CHECK(read(fd, &v, 8) == 8 && v == 7);
	CHECK(read(fd, &v, 8) == -1 && errno == EAGAIN && next(0, NULL) == -1);
	CHECK(read(sem, &v, 8) == 8 && v == 1 && read(sem, &v, 8) == 8 && v == 1);
	CHECK(read(sem, &v, 8) == -1);
	CHECK(close(fd) == 0 && close(sem) == 0);
}

static void timer_fd(void)
{
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	struct itimerspec its = { { 0, 5000000 }, { 0, 5000000 } };
	uint64_t v;

	CHECK(fd >= 0 && timerfd_settime(fd, 0, &its, NULL) == 0);
	watch(EPOLL_CTL_ADD, fd, EPOLLIN);
	CHECK(next(5000, NULL) == fd && read(fd, &v, 8) == 8 && v >= 1);
	// Of a period of 5 ms five are over after 30, however many reads see them: where
	// the host gave the guest no CPU for so long, the sleeper may wake first.
	usleep(30000);
	uint64_t all = 0;
	while (all < 5 && next(5000, NULL) == fd && read(fd, &v, 8) == 8)
		all += v;
	CHECK(all >= 5);
	CHECK(close(fd) == 0);
}

static void signal_fd(void)
{
	sigset_t set;
	struct signalfd_siginfo si;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	int fd = signalfd(-1, &set, SFD_NONBLOCK);
	CHECK(fd >= 0);
	watch(EPOLL_CTL_ADD, fd, EPOLLIN);
	CHECK(next(0, NULL) == -1 && kill(getpid(), SIGUSR1) == 0 && next(1000, NULL) == fd);
	CHECK(read(fd, &si, sizeof si) == sizeof si && si.ssi_signo == SIGUSR1);
	CHECK(si.ssi_pid == (uint32_t)getpid());
	CHECK(close(fd) == 0);
}

static void poll_and_select(void)
{
	int s[2];
	char buf[8];

	CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
	struct pollfd p[2] = { { s[0], POLLIN, 0 }, { s[1], POLLIN | POLLOUT, 0 } };
	CHECK(poll(p, 2, 0) == 1 && p[1].revents == POLLOUT);
	CHECK(write(s[1], "hi", 2) == 2);
	CHECK(poll(p, 2, 1000) == 2 && p[0].revents == POLLIN);
	fd_set r;
	struct timeval tv = { 0, 10000 };
	FD_ZERO(&r);
	FD_SET(s[0], &r);
	CHECK(select(s[0] + 1, &r, NULL, NULL, &tv) == 1 && FD_ISSET(s[0], &r));
	CHECK(read(s[0], buf, sizeof buf) == 2);
	FD_SET(s[0], &r);
	CHECK(select(s[0] + 1, &r, NULL, NULL, &tv) == 0);
	CHECK(shutdown(s[1], SHUT_WR) == 0 && read(s[0], buf, 1) == 0);
	CHECK(close(s[0]) == 0 && close(s[1]) == 0);
}

int main(void)
{
	ep = epoll_create1(EPOLL_CLOEXEC);
	CHECK(ep >= 0);
	pipes();
	event_fd();
	timer_fd();
	signal_fd();
	poll_and_select();
	puts("events: ok");
	return 0;
}
