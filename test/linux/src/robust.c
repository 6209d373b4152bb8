// Robust mutexes whose owner ends: of every protocol, within a process and between
// two, with and without waiters, ended in every way.
#include "print.h"

struct shared {
	pthread_mutex_t m, second, third;
	volatile int locked;
};
static struct shared *sh;

static void init(pthread_mutex_t *m, int protocol, int robust, int pshared, int type) {
	pthread_mutexattr_t a;
	pthread_mutexattr_init(&a);
	pthread_mutexattr_setrobust(&a, robust);
	pthread_mutexattr_setprotocol(&a, protocol);
	pthread_mutexattr_setpshared(&a, pshared);
	pthread_mutexattr_settype(&a, type);
	pthread_mutex_init(m, &a);
}

static void lock_all(void) {
	pthread_mutex_lock(&sh->m);
	pthread_mutex_lock(&sh->second);
	pthread_mutex_lock(&sh->third);
	sh->locked = 1;
}

static void await(void) {
	while (!sh->locked)
		usleep(1000);
}

static const char *name(int e) { return e ? strerrorname_np(e) : "0"; }

// take prints what the next to lock each of the three finds.
static void take(const char *what) {
	pthread_mutex_t *all[] = {&sh->m, &sh->second, &sh->third};
	for (int i = 0; i < 3; i++) {
		char line[200];
		struct timespec until;
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += 10;
		int r = pthread_mutex_timedlock(all[i], &until);
		int c = r == EOWNERDEAD && i != 1 ? pthread_mutex_consistent(all[i]) : -1;
		int u = r == 0 || r == EOWNERDEAD ? pthread_mutex_unlock(all[i]) : -1;
		int again = pthread_mutex_trylock(all[i]);
		snprintf(line, sizeof line, "%s, mutex %d", what, i);
		SAY(line, "%s, consistent %d, unlock %d, then %s", name(r), c, u, name(again));
		if (again == 0)
			pthread_mutex_unlock(all[i]);
	}
}

static void *owner(void *how) {
	lock_all();
	usleep(how ? 100000 : 0);
	return 0;
}

static void in_threads(const char *protocol, int waits) {
	char what[100];
	pthread_t t;
	sh->locked = 0;
	pthread_create(&t, 0, owner, waits ? sh : 0);
	await();
	if (!waits)
		pthread_join(t, 0);
	snprintf(what, sizeof what, "%s, a thread ended, %s", protocol, waits ? "another waits" : "nobody waits");
	take(what);
	if (waits)
		pthread_join(t, 0);
}

static void between_processes(const char *protocol, const char *end, int waits) {
	char what[100];
	int go[2];
	char c;
	pipe(go);
	sh->locked = 0;
	pid_t child = fork();
	if (child == 0) {
		lock_all();
		if (!waits)
			read(go[0], &c, 1);
		else
			usleep(100000);
		if (!strcmp(end, "killed"))
			kill(getpid(), SIGKILL);
		if (!strcmp(end, "crashed"))
			raise(SIGSEGV);
		_exit(0);
	}
	await();
	if (!waits) {
		write(go[1], "x", 1);
		waitpid(child, 0, 0);
	}
	snprintf(what, sizeof what, "%s, a process %s, %s", protocol, end, waits ? "another waits" : "nobody waits");
	take(what);
	kill(child, SIGKILL);
	waitpid(child, 0, 0);
	close(go[0]);
	close(go[1]);
}

// queue is how many of several waiters are told, one after the other.
static void *waiter(void *told) {
	int r = pthread_mutex_lock(&sh->m);
	if (r == EOWNERDEAD)
		pthread_mutex_consistent(&sh->m);
	__atomic_add_fetch((int *)told, r == EOWNERDEAD ? 1 : r == 0 ? 100 : 10000, __ATOMIC_SEQ_CST);
	usleep(10000);
	pthread_mutex_unlock(&sh->m);
	return 0;
}

static void queue(const char *protocol) {
	char what[100];
	pthread_t t, w[4];
	int told = 0;
	sh->locked = 0;
	pthread_create(&t, 0, owner, sh);
	await();
	for (int i = 0; i < 4; i++)
		pthread_create(&w[i], 0, waiter, &told);
	pthread_join(t, 0);
	for (int i = 0; i < 4; i++)
		pthread_join(w[i], 0);
	snprintf(what, sizeof what, "%s, four wait: told + 100 * not told", protocol);
	SAY(what, "%d", told);
	take(what);
}

int main(void) {
	alarm(60);
	sh = mmap(0, sizeof *sh, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	static const struct { const char *name; int protocol; } protocols[] = {{"plain", PTHREAD_PRIO_NONE}, {"inheriting", PTHREAD_PRIO_INHERIT}};
	static const char *ends[] = {"exited", "killed", "crashed"};
	for (int p = 0; p < 2; p++) {
		for (int waits = 0; waits < 2; waits++) {
			init(&sh->m, protocols[p].protocol, PTHREAD_MUTEX_ROBUST, PTHREAD_PROCESS_PRIVATE, PTHREAD_MUTEX_NORMAL);
			init(&sh->second, protocols[p].protocol, PTHREAD_MUTEX_ROBUST, PTHREAD_PROCESS_PRIVATE, PTHREAD_MUTEX_ERRORCHECK);
			init(&sh->third, protocols[p].protocol, PTHREAD_MUTEX_ROBUST, PTHREAD_PROCESS_PRIVATE, PTHREAD_MUTEX_RECURSIVE);
			in_threads(protocols[p].name, waits);
			for (unsigned e = 0; e < sizeof ends / sizeof *ends; e++) {
				init(&sh->m, protocols[p].protocol, PTHREAD_MUTEX_ROBUST, PTHREAD_PROCESS_SHARED, PTHREAD_MUTEX_NORMAL);
				init(&sh->second, protocols[p].protocol, PTHREAD_MUTEX_ROBUST, PTHREAD_PROCESS_SHARED, PTHREAD_MUTEX_NORMAL);
				// The other protocol in between: one list has both.
				init(&sh->third, protocols[!p].protocol, PTHREAD_MUTEX_ROBUST, PTHREAD_PROCESS_SHARED, PTHREAD_MUTEX_NORMAL);
				between_processes(protocols[p].name, ends[e], waits);
			}
		}
		init(&sh->m, protocols[p].protocol, PTHREAD_MUTEX_ROBUST, PTHREAD_PROCESS_PRIVATE, PTHREAD_MUTEX_NORMAL);
		init(&sh->second, protocols[p].protocol, PTHREAD_MUTEX_ROBUST, PTHREAD_PROCESS_PRIVATE, PTHREAD_MUTEX_NORMAL);
		init(&sh->third, protocols[p].protocol, PTHREAD_MUTEX_ROBUST, PTHREAD_PROCESS_PRIVATE, PTHREAD_MUTEX_NORMAL);
		queue(protocols[p].name);
	}
	return 0;
}
