// Modes that make processes and threads, and what belongs to them.

#include <pthread.h>
#include <sys/prctl.h>
#include "mode.h"

static void *sleeper(void *stack)
{
	volatile char *p = stack;
	for (size_t at = 0; p && at < MB; at += PAGE)
		p[at] = 1;
	for (;;)
		pause();
	return NULL;
}

static void threads_of(size_t stack_size, int touched)
{
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	for (;; ++*made) {
		void *stack = anonymous(stack_size);
		pthread_attr_setstack(&attr, stack, stack_size);
		pthread_t t;
		errno = pthread_create(&t, &attr, sleeper, touched ? stack : NULL);
		if (errno != 0)
			hold("pthread_create");
	}
}

static void threads(void) { threads_of(16 << 10, 0); }
static void thread_stacks(void) { threads_of(2 * MB, 1); }

static void fork_bomb(void)
{
	for (;;) {
		if (fork() < 0)
			hold("fork");
		__atomic_fetch_add(made, 1, __ATOMIC_RELAXED);
	}
}

static void forked(void)
{
	for (;; ++*made) {
		pid_t child = fork();
		if (child < 0)
			hold("fork");
		for (; child == 0;)
			pause();
	}
}

static void fork_touch(void)
{
	for (;; ++*made) {
		pid_t child = fork();
		if (child < 0)
			hold("fork");
		for (; child == 0;) {
			touch(anonymous(MB), MB);
			pause();
		}
	}
}

static void zombies(void)
{
	for (;; ++*made) {
		pid_t child = fork();
		if (child < 0)
			hold("fork");
		if (child == 0)
			_exit(0);
	}
}

// exec_arguments has children execute a program with 2 MB of arguments, or of
// environment.
static void exec_arguments(int environment)
{
	char name[16];
	prctl(PR_GET_NAME, name);
	enum { EACH = 100000, COUNT = 20 };
	char *text = anonymous(EACH);
	memset(text, 'x', EACH - 1);
	char *few[] = {"sleep", name, NULL}, *many[COUNT + 3] = {"sleep", name}, *none[] = {NULL};
	for (int i = 0; i < COUNT; i++)
		many[i + 2] = text;
	for (;; ++*made) {
		pid_t child = fork();
		if (child < 0)
			hold("fork");
		if (child == 0) {
			if (environment)
				execve(program, few, many + 2);
			else
				execve(program, many, none);
			hold("execve");
		}
	}
}

static void arguments(void) { exec_arguments(0); }
static void environment(void) { exec_arguments(1); }

// namespaces keeps children, each with namespaces of its own.
static void namespaces_of(int flags)
{
	for (;; ++*made) {
		pid_t child = fork();
		if (child < 0)
			hold("fork");
		if (child == 0) {
			if (unshare(flags) != 0)
				hold("unshare");
			for (;;)
				pause();
		}
	}
}

static void namespaces(void) { namespaces_of(CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNS); }
static void network_namespaces(void) { namespaces_of(CLONE_NEWNET); }

static void user_namespaces(void)
{
	for (;; ++*made)
		if (unshare(CLONE_NEWUSER) != 0)
			hold("unshare");
}

const struct mode process_modes[] = {
	{"threads", threads},
	{"thread-stacks", thread_stacks},
	{"fork-bomb", fork_bomb},
	{"forks", forked},
	{"fork-touch", fork_touch},
	{"zombies", zombies},
	{"exec-args", arguments},
	{"exec-env", environment},
	{"namespaces", namespaces},
	{"net-namespaces", network_namespaces},
	{"user-namespaces", user_namespaces},
	{0},
};
