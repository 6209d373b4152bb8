// Scheduling policies, priorities, niceness, and who inherits them.
#include "print.h"
#include <sys/resource.h>

// <linux/sched/types.h> and glibc's <sched.h> do not go together.
struct sched_attr {
	uint32_t size, sched_policy;
	uint64_t sched_flags;
	int32_t sched_nice;
	uint32_t sched_priority;
	uint64_t sched_runtime, sched_deadline, sched_period;
	uint32_t sched_util_min, sched_util_max;
};
enum { SCHED_FLAG_KEEP_POLICY = 8 };

static long getscheduler_in_child(void) {
	int status;
	pid_t child = fork();
	if (child == 0)
		_exit(sched_getscheduler(0));
	waitpid(child, &status, 0);
	return WEXITSTATUS(status);
}

static void *in_thread(void *unused) {
	(void)unused;
	struct sched_param p;
	sched_getparam(0, &p);
	SAY("a thread's policy and priority", "%d %d", sched_getscheduler(0), p.sched_priority);
	return 0;
}

static void attributes(void) {
	struct sched_attr a = {.size = sizeof a};
	PRINT(syscall(SYS_sched_getattr, 0, &a, sizeof a, 0));
	SAY("attributes", "policy %u flags %llu nice %d priority %u", a.sched_policy, (unsigned long long)a.sched_flags, a.sched_nice, a.sched_priority);
	PRINT(syscall(SYS_sched_getattr, 0, &a, 47, 0));
	PRINT(syscall(SYS_sched_getattr, 0, &a, 5000, 0));
	PRINT(syscall(SYS_sched_getattr, 0, &a, sizeof a, 1));
	PRINT(syscall(SYS_sched_getattr, -1, &a, sizeof a, 0));
	PRINT(syscall(SYS_sched_getattr, 0, 0, sizeof a, 0));
	a = (struct sched_attr){.size = 48, .sched_policy = SCHED_FIFO, .sched_priority = 7};
	PRINT(syscall(SYS_sched_setattr, 0, &a, 0));
	PRINT(sched_getscheduler(0));
	a.sched_priority = 0;
	result("sched_setattr, SCHED_FIFO, priority 0", syscall(SYS_sched_setattr, 0, &a, 0));
	a.size = 12;
	errno = 0;
	result("sched_setattr of 12 bytes", syscall(SYS_sched_setattr, 0, &a, 0));
	SAY("its size then is", "%d", a.size >= 56);
	a = (struct sched_attr){.size = 48, .sched_flags = 1ull << 40};
	result("sched_setattr with an unknown flag", syscall(SYS_sched_setattr, 0, &a, 0));
	a = (struct sched_attr){.size = 48, .sched_policy = SCHED_BATCH, .sched_nice = 5};
	result("sched_setattr, SCHED_BATCH, nice 5", syscall(SYS_sched_setattr, 0, &a, 0));
	PRINT(getpriority(PRIO_PROCESS, 0));
	a = (struct sched_attr){.size = 48, .sched_flags = SCHED_FLAG_KEEP_POLICY, .sched_nice = 3};
	result("sched_setattr that keeps the policy", syscall(SYS_sched_setattr, 0, &a, 0));
	SAY("policy and nice", "%d %d", sched_getscheduler(0), getpriority(PRIO_PROCESS, 0));
	PRINT(syscall(SYS_sched_setattr, 0, &a, 1));
	PRINT(syscall(SYS_sched_setattr, 0, 0, 0));
	PRINT(setpriority(PRIO_PROCESS, 0, 0));
}

static void limits(void) {
	struct sched_param p = {.sched_priority = 5};
	setresuid(1000, 1000, 1000);
	struct rlimit none = {0, 0};
	PRINT(setrlimit(RLIMIT_RTPRIO, &none));
	PRINT(sched_setscheduler(0, SCHED_FIFO, &p));
	PRINT(sched_setparam(0, &p));
	p.sched_priority = 0;
	result("to SCHED_BATCH by user 1000", sched_setscheduler(0, SCHED_BATCH, &p));
	result("to SCHED_OTHER by user 1000", sched_setscheduler(0, SCHED_OTHER, &p));
	result("another's process", sched_setscheduler(getppid(), SCHED_BATCH, &p));
	PRINT(sched_getscheduler(getppid()));
}

int main(void) {
	struct sched_param p = {0};
	struct timespec t = {9, 9};
	PRINT(sched_getscheduler(0));
	PRINT(sched_setparam(0, &p));
	PRINT(sched_getparam(0, &p));
	PRINT(sched_setparam(-1, &p));
	PRINT(sched_setparam(0, 0));
	PRINT(sched_setparam(99999, &p));
	PRINT(sched_getparam(0, 0));
	PRINT(sched_getparam(0, (void *)8));
	PRINT(sched_getparam(-1, &p));
	PRINT(sched_getscheduler(-1));
	PRINT(sched_getscheduler(99999));
	PRINT(sched_get_priority_min(-23));
	PRINT(sched_get_priority_min(SCHED_OTHER));
	PRINT(sched_get_priority_max(SCHED_OTHER));
	PRINT(sched_get_priority_min(SCHED_FIFO));
	PRINT(sched_get_priority_max(SCHED_FIFO));
	PRINT(sched_get_priority_min(SCHED_RR));
	PRINT(sched_get_priority_max(SCHED_RR));
	PRINT(sched_get_priority_max(SCHED_BATCH));
	PRINT(sched_get_priority_max(SCHED_IDLE));
	PRINT(sched_get_priority_max(SCHED_DEADLINE));
	PRINT(sched_get_priority_max(4));
	PRINT(sched_rr_get_interval(0, &t));
	PRINT(sched_rr_get_interval(-1, &t));
	PRINT(sched_rr_get_interval(99999, &t));
	PRINT(sched_rr_get_interval(0, (void *)8));
	p.sched_priority = 1;
	PRINT(sched_setparam(0, &p));
	result("sched_setscheduler, SCHED_OTHER, priority 1", sched_setscheduler(0, SCHED_OTHER, &p));
	PRINT(sched_setscheduler(0, SCHED_RR, &p));
	PRINT(sched_getscheduler(0));
	result("sched_setscheduler of 99999", sched_setscheduler(99999, SCHED_RR, &p));
	result("sched_setscheduler, policy 4", sched_setscheduler(0, 4, &p));
	result("sched_setscheduler, policy -1", sched_setscheduler(0, -1, &p));
	result("sched_setscheduler, policy 300", sched_setscheduler(0, 300, &p));
	result("sched_setscheduler, SCHED_DEADLINE", sched_setscheduler(0, SCHED_DEADLINE, &p));
	result("sched_setscheduler, no parameter", sched_setscheduler(0, SCHED_RR, 0));
	result("sched_setscheduler, parameter at 8", sched_setscheduler(0, SCHED_RR, (void *)8));
	result("sched_rr_get_interval", sched_rr_get_interval(0, &t));
	SAY("slice of SCHED_RR", "%ld ms", t.tv_sec * 1000 + t.tv_nsec / 1000000);
	SAY("policy in a child", "%ld", getscheduler_in_child());
	pthread_t thread;
	pthread_create(&thread, 0, in_thread, 0);
	pthread_join(thread, 0);
	result("with SCHED_RESET_ON_FORK", sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &p));
	result("then the policy is", sched_getscheduler(0));
	SAY("and in a child", "%ld", getscheduler_in_child());
	result("slice of SCHED_FIFO", sched_rr_get_interval(0, &t));
	SAY("slice", "%ld %ld", (long)t.tv_sec, t.tv_nsec);
	p.sched_priority = 100;
	result("sched_setparam, 100", sched_setparam(0, &p));
	p.sched_priority = 99;
	result("sched_setparam, 99", sched_setparam(0, &p));
	p.sched_priority = -1;
	result("sched_setparam, -1", sched_setparam(0, &p));
	sched_getparam(0, &p);
	SAY("priority", "%d", p.sched_priority);
	p.sched_priority = 0;
	result("back to SCHED_OTHER", sched_setscheduler(0, SCHED_OTHER, &p));
	attributes();
	result("back again", sched_setscheduler(0, SCHED_OTHER, &p));
	fflush(stdout);
	if (fork() == 0) {
		limits();
		_exit(0);
	}
	wait(0);
	return 0;
}
