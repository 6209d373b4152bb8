// check.h: the one assertion that the test programs share.
//
// Each program checks what it does with CHECK and ends with one line,
// "NAME: ok", and status 0. A failed check names its place and errno on the
// standard output, so that a script's log shows it, and exits with status 1.

#ifndef CHECK_H
#define CHECK_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(cond)                                                         \
	do {                                                                \
		if (!(cond)) {                                              \
			int e = errno;                                      \
			printf("%s:%d: CHECK(%s) failed, errno %d (%s)\n",  \
			       __FILE__, __LINE__, #cond, e, strerror(e));  \
			fflush(stdout);                                     \
			_exit(1);                                           \
		}                                                           \
	} while (0)

#endif
