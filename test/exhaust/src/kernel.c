// Modes that make what has no better place: keys, contexts, filters.

#include <linux/aio_abi.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include "mode.h"

static void keys(void)
{
	for (;; ++*made)
		if (syscall(SYS_add_key, "user", numbered("exhaust-%ld", *made), block, 4096, -3 /* the session's keyring */) < 0)
			hold("add_key");
}

static void keyrings(void)
{
	for (;; ++*made)
		if (syscall(SYS_keyctl, 1 /* KEYCTL_JOIN_SESSION_KEYRING */, numbered("exhaust-%ld", *made)) < 0)
			hold("keyctl");
}

static void io_contexts(void)
{
	for (;; ++*made) {
		aio_context_t c = 0;
		if (syscall(SYS_io_setup, 128, &c) != 0)
			hold("io_setup");
	}
}

static void seccomp_filters(void)
{
	enum { LENGTH = 4096 };
	static struct sock_filter code[LENGTH];
	for (int i = 0; i < LENGTH - 1; i++) // a jump over the rest, so that it costs no time
		code[i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JA, LENGTH - 2 - i, 0, 0);
	code[LENGTH - 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = {LENGTH, code};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		hold("prctl");
	for (;; ++*made)
		if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) != 0)
			hold("seccomp");
}

static void rings(void)
{
	for (;; ++*made) {
		char params[120] = {0};
		if (syscall(SYS_io_uring_setup, 1024, params) < 0)
			hold("io_uring_setup");
	}
}

const struct mode kernel_modes[] = {
	{"keys", keys},
	{"keyrings", keyrings},
	{"io-setup", io_contexts},
	{"seccomp", seccomp_filters},
	{"io-uring", rings},
	{0},
};
