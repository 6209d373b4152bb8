// Descriptors that are far beyond a process' table, and counts of them.
#include "print.h"
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC 4
#endif

int main(void) {
	static const int beyond[] = {-1, 700, 65536, 1 << 20, 1 << 30, 0x7fffffff, (int)0x80000000};
	static unsigned long bits[4096]; // of 262144 descriptors
	struct timeval now = {0};
	struct pollfd few[2] = {{0x7fffffff, POLLIN, 0}, {-5, POLLIN, 0}};
	struct epoll_event ev = {.events = EPOLLIN};
	struct rlimit files = {2048, 2048};
	int epoll = epoll_create1(0), p[2];
	pipe(p);
	for (unsigned i = 0; i < sizeof beyond / sizeof *beyond; i++) {
		int fd = beyond[i];
		PRINT(close(fd));
		PRINT(fcntl(fd, F_GETFD));
		PRINT(fcntl(p[0], F_DUPFD, fd) >= 0);
		PRINT(dup(fd));
		PRINT(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev));
		PRINT(epoll_ctl(fd, EPOLL_CTL_ADD, p[0], &ev));
		PRINT(syscall(SYS_close_range, fd, fd, 0));
		PRINT(syscall(SYS_close_range, fd, fd, CLOSE_RANGE_CLOEXEC));
	}
	PRINT(syscall(SYS_close_range, 3000, ~0u, 0));
	PRINT(syscall(SYS_close_range, 3000, ~0u, CLOSE_RANGE_CLOEXEC));
	PRINT(dup2(p[0], 0x7fffffff));
	PRINT(dup3(p[0], 0x7fffffff, 0));
	PRINT(dup2(0x7fffffff, 5));
	// What select does not find in the table it ignores.
	PRINT(select(262144, (void *)bits, NULL, NULL, &now));
	bits[4000] = 1;
	PRINT(select(262144, (void *)bits, NULL, NULL, &now));
	PRINT(select(0x7fffffff, (void *)bits, NULL, NULL, &now));
	PRINT(select(-1, (void *)bits, NULL, NULL, &now));
	bits[0] = 1ul << p[1];
	PRINT(select(262144, NULL, (void *)bits, NULL, &now));
	PRINT(bits[0] == 1ul << p[1]);
	PRINT(poll(few, 2, 0));
	SAY("poll", "%d %d", few[0].revents, few[1].revents);
	PRINT(setrlimit(RLIMIT_NOFILE, &files));
	PRINT(poll((void *)bits, 2049, 0));
	PRINT(syscall(SYS_poll, bits, 0x7fffffff, 0));
	PRINT(poll(NULL, 1, 0));
	PRINT(dup2(p[0], 2048));
	PRINT(dup2(p[0], 2047));
	PRINT(close(2047));
	PRINT(close(2047));
	return 0;
}
