// Modes that make objects of System V and POSIX communication, timers, and
// signals.

#include <mqueue.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <time.h>
#include "mode.h"

static void sysv_messages(void)
{
	static struct {
		long type;
		char text[8192];
	} message = {1, {1}};
	for (;; ++*made) {
		int id = msgget(*made + 1, IPC_CREAT | 0600);
		if (id < 0)
			hold("msgget");
		while (msgsnd(id, &message, sizeof message.text, IPC_NOWAIT) == 0)
			;
	}
}

static void posix_messages(void)
{
	for (;; ++*made) {
		mqd_t q = mq_open(numbered("/%ld", *made + 1), O_CREAT | O_RDWR | O_NONBLOCK, 0600, NULL);
		if (q < 0)
			hold("mq_open");
		while (mq_send(q, block, 8192, 1) == 0)
			;
	}
}

static void semaphores(void)
{
	for (;; ++*made)
		if (semget(*made + 1, 250, IPC_CREAT | 0600) < 0)
			hold("semget");
}

// semaphore_undo has one process undo operations of many semaphores.
static void semaphore_undo(void)
{
	for (;; ++*made) {
		int id = semget(*made + 1, 250, IPC_CREAT | 0600);
		if (id < 0)
			hold("semget");
		for (int i = 0; i < 250; i++) {
			struct sembuf op = {i, 1, SEM_UNDO};
			if (semop(id, &op, 1) != 0)
				hold("semop");
		}
	}
}

static void timers(int signo)
{
	for (;; ++*made) {
		timer_t t;
		struct sigevent e = {.sigev_notify = signo ? SIGEV_SIGNAL : SIGEV_NONE, .sigev_signo = signo};
		if (timer_create(CLOCK_MONOTONIC, &e, &t) != 0)
			hold("timer_create");
		struct itimerspec in = {{0}, {signo ? 0 : 1000, 1000}};
		timer_settime(t, 0, &in, NULL);
	}
}

static void timers_armed(void) { timers(0); }

// timers_fired has timers expire whose signal is blocked.
static void timers_fired(void)
{
	sigset_t all;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	timers(SIGRTMIN);
}

static void queued_signals(void)
{
	sigset_t all;
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	for (;; ++*made)
		if (sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 1}) != 0)
			hold("sigqueue");
}

const struct mode ipc_modes[] = {
	{"sysv-messages", sysv_messages},
	{"posix-messages", posix_messages},
	{"semaphores", semaphores},
	{"semaphore-undo", semaphore_undo},
	{"timers", timers_armed},
	{"timers-fired", timers_fired},
	{"sigqueue", queued_signals},
	{0},
};
