// mode.h: what the modes of the exhaustion test share.
//
// A mode is a function that makes one kind of object without end. It runs in a
// process of its own, which bears the mode's name, and comes to an end in one
// of three ways: a call fails, and the mode calls hold; the memory killer kills
// it; or its time is over, and the driver kills it.

#ifndef MODE_H
#define MODE_H

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE ((size_t)4096)
#define MB ((size_t)1 << 20)

struct mode {
	const char *name; // at most 15 characters, those of a process' name
	void (*run)(void);
};

// The modes of each file, each ended by one without a name.
extern const struct mode memory_modes[], mapping_modes[], process_modes[], file_modes[],
	descriptor_modes[], socket_modes[], ipc_modes[], kernel_modes[];

// made is how many objects the mode has made; the driver sees it.
extern volatile long *made;

// program is the path of this program, for modes that execute it.
extern const char *const program;

// block is a megabyte that is not all zeros.
extern char block[1 << 20];

// hold says that the call named what has failed with errno, and keeps what the
// process has until it is killed.
_Noreturn void hold(const char *what);

// total_memory returns MemTotal of /proc/meminfo in bytes.
size_t total_memory(void);

// anonymous returns size bytes of new private memory, or holds.
char *anonymous(size_t size);

// touch writes to each page of memory.
void touch(char *p, size_t size);

// numbered formats a path with a number in a buffer that the next call uses.
const char *numbered(const char *format, long n);

#endif
