// What a program of this folder prints: a line for each result, "WHAT = RESULT".
// Results are what Linux gives everywhere; what depends on the machine is not
// printed.
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void __attribute__((unused)) result(const char *what, long r) {
	if (r == -1)
		printf("%s = -1 %s\n", what, strerrorname_np(errno));
	else
		printf("%s = %ld\n", what, r);
	fflush(stdout);
}

// PRINT prints what a call returns: a number, or -1 and the name of errno.
#define PRINT(call) do { errno = 0; long r_ = (long)(call); result(#call, r_); } while (0)

// OK prints whether a call that returns a descriptor worked, and closes that.
#define OK(call) do { errno = 0; long r_ = (long)(call); result(#call, r_ < 0 ? r_ : 0); \
	if (r_ >= 0) close(r_); } while (0)

// SAY prints "WHAT = …" with a format of its own.
static void __attribute__((format(printf, 2, 3), unused)) SAY(const char *what, const char *format, ...) {
	va_list args;
	va_start(args, format);
	printf("%s = ", what);
	vprintf(format, args);
	putchar('\n');
	fflush(stdout);
	va_end(args);
}

// sleeps waits until a process of one thread waits for something, or has ended.
static void __attribute__((unused)) sleeps(pid_t pid) {
	char path[32], state = 0;
	snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
	while (state != 'S' && state != 'Z') {
		FILE *f = fopen(path, "r");
		if (f == NULL || fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
			exit(1);
		fclose(f);
		usleep(1000);
	}
}

// ready waits until a descriptor has one of events, at most 10 s.
static void __attribute__((unused)) ready(int fd, int events) {
	poll(&(struct pollfd){fd, events, 0}, 1, 10000);
}
