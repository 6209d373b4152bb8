// soak.h: what the workers of the soak test share.

#ifndef SOAK_H
#define SOAK_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// CHECK ends the worker if a condition does not hold.
#define CHECK(cond)                                                          \
	do {                                                                 \
		if (!(cond)) {                                               \
			int e = errno;                                       \
			printf("%s:%d: CHECK(%s) failed, errno %d (%s)\n",   \
			       __FILE__, __LINE__, #cond, e, strerror(e));   \
			fflush(stdout);                                      \
			_exit(1);                                            \
		}                                                            \
	} while (0)

// A work is one kind of thing that is done count times.
struct work {
	const char *name;
	void (*begin)(void);  // may be NULL
	void (*once)(long n); // does it the nth time, from 0
	int many;             // whether it is done as often as connections
};

extern const struct work connections, programs, files, threads;

// served ends connections from outside for ever.
void serve(void);

// verify_files ends the program unless the files are there that must be when
// done files have been made.
void verify_files(long done);

#endif
