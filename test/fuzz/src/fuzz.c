// fuzz runs random programs of system calls, made from seeds, in children that
// it ends after a while. It is the only program of a guest, as process 1, and
// finds defects of the kernel by outliving the machine, or not.
//
//	fuzz run FIRST SECONDS      programs from seed FIRST on, for so long
//	fuzz print SEED             what a program is
//	fuzz one SEED [MASK]        one program, a hundred times, without the
//	                            calls whose bits are set in MASK
//
// The same seed gives the same calls with the same arguments. What a call
// returns can be an argument of a later one.
//
// Each program has a mount namespace, limits and a folder of its own. It runs
// as root or as user 1000, on one to three threads.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	MAX_CALLS = 32,
	MAX_OPEN = 10,       // descriptors that a program begins with
	TICK = 20,           // ms after which a call that blocks is interrupted
	LIMIT = 1500,        // ms that a program may take
	STUCK = 30,          // s after which a child that was killed must be gone
	ARENA = 11 * 4096, // PARTS of PART_SIZE
};

#define LEN(a) (sizeof(a) / sizeof *(a))

// --- Random numbers: splitmix64 ---

static uint64_t state;

static uint64_t rnd(void)
{
	uint64_t z = state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static uint64_t below(uint64_t n) { return rnd() % n; }
static int one_in(int n) { return below(n) == 0; }

// --- What calls are given ---

static char *arena;     // ARENA bytes between two pages without access

#include "calls.h"

// arg is an argument before it is known where things are.
struct arg {
	enum { NUMBER, RESULT, FD, POINTER, PID } kind;
	uint64_t value; // a number, an index, or an offset into the arena
};

struct made {
	int call; // index into calls, or -1
	long nr;
	struct arg arg[6];
};

static struct program {
	int n, threads, user, rounds;
	int fds;
	int fd_kind[MAX_OPEN];
	struct made calls[MAX_CALLS];
	uint64_t content; // seed of what is in the arena
} program;

static long results[MAX_CALLS];
static int fds[MAX_OPEN];
static pid_t child;

static struct arg number(uint64_t v) { return (struct arg){NUMBER, v}; }

static uint64_t pick(const uint64_t *set, int n) { return set[below(n)]; }

static struct arg integer(void)
{
	static const uint64_t interesting[] = {
		0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 100, 127, 128, 255, 256, 511, 512, 1000, 1023, 1024, 4095, 4096, 4097,
		8192, 65535, 65536, 1 << 20, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, 0x7fffffffffffffff,
		0x8000000000000000, -1ul, -2ul, -4096ul, -100ul,
	};

	switch (below(4)) {
	case 0: return number(below(16));
	case 1: return number(1ul << below(64));
	case 2: return number(rnd() >> below(64));
	}
	return number(pick(interesting, LEN(interesting)));
}

static struct arg flags(const uint64_t *set, int n)
{
	uint64_t v = 0;

	if (one_in(20))
		return integer();
	for (int i = below(4); i >= 0; i--)
		v |= pick(set, n);
	return number(v);
}

// pointer chooses a place in the arena, whose parts hold different things (see
// fill), or a place where no pointer should go.
static struct arg pointer(int part)
{
	static const uint64_t bad[] = {
		0, 1, 8, 0x1000, 0xffff888000100000, 0xffffffff80200000, 0xffffffffff600000, 0x800000000000, 0x7ffffffff000,
		0x7fffffffffff, -1ul, -8ul, -4096ul, 0x8000000000000000,
	};

	if (one_in(25))
		return number(pick(bad, LEN(bad)));
	if (one_in(30))
		return (struct arg){POINTER, ARENA - 1 - below(64)}; // goes on into nothing
	if (one_in(40))
		return (struct arg){POINTER, ARENA + below(4096)}; // nothing
	if (part == ANY_PART)
		part = below(PARTS);
	return (struct arg){POINTER, part * PART_SIZE + below(ITEMS) * ITEM_SIZE};
}

static struct arg descriptor(int before)
{
	if (one_in(25))
		return number(pick((uint64_t[]){-1, -100, 0, 1, 2, 1000, 0x7fffffff, 63}, 8));
	if (before > 0 && one_in(3))
		return (struct arg){RESULT, below(before)};
	return (struct arg){FD, below(MAX_OPEN)};
}

static struct arg argument(char type, int before)
{
	switch (type) {
	case 'f': return descriptor(before);
	case 'd': return one_in(2) ? number(AT_FDCWD) : descriptor(before);
	case 'p': return pointer(PATHS);
	case 's': return pointer(STRINGS);
	case 'b': return pointer(ANY_PART);
	case 'v': return pointer(IOVECS);
	case 'a': return pointer(ADDRESSES);
	case 'M': return pointer(MESSAGES);
	case 't': return one_in(5) ? number(0) : pointer(TIMES);
	case 'w': return pointer(WORDS);
	case 'l': return one_in(3) ? integer() : number(below(PART_SIZE));
	case 'n': return integer();
	case 'i': return number(below(8));
	case 'o': return one_in(2) ? integer() : number(below(10000));
	case 'm': return number(below(01000));
	case 'S': return number(one_in(10) ? below(70) : pick((uint64_t[]){0, SIGUSR1, SIGUSR2, SIGCHLD, SIGURG, SIGCONT, 34, 40, 64}, 9));
	case 'I': return (struct arg){PID, below(4)};
	case 'u': return number(pick((uint64_t[]){0, 1000, 65534, -1ul, 1, 0xffffffff}, 6));
	case 'A': return one_in(4) ? number(0) : pointer(ANY_PART);
	case '0': return number(0);
	case 'k': return number(pick(sizes_of, LEN(sizes_of)));
	}
	if (type >= 'B' && type <= 'Z' && sets[type - 'A'].v)
		return flags(sets[type - 'A'].v, sets[type - 'A'].n);
	// Any: what a call that is not described may want.
	switch (below(6)) {
	case 0: return descriptor(before);
	case 1: return pointer(ANY_PART);
	case 2: return pointer(below(PARTS));
	case 3: return number(below(4));
	case 4: return number(0);
	}
	return integer();
}

// excluded are the calls whose purpose is to end or stop the machine, and
// those that end the program that makes them.
static int excluded(long nr)
{
	switch (nr) {
	case SYS_reboot: case SYS_exit: case SYS_exit_group: case SYS_vfork: case SYS_fork: case SYS_clone:
	case SYS_kexec_load: case SYS_kexec_file_load: case SYS_pause: case SYS_rt_sigsuspend: case SYS_rt_sigreturn:
	case SYS_kill: case SYS_vhangup: // described, or with other arguments
		return 1;
	}
	return 0;
}

static void make_call(struct made *m, int before)
{
	const char *types = "??????";

	if (one_in(5)) {
		m->call = -1;
		do
			m->nr = below(470);
		while (excluded(m->nr));
	} else {
		m->call = below(LEN(calls));
		m->nr = calls[m->call].nr;
		types = calls[m->call].types;
	}
	for (int i = 0; i < 6; i++) {
		m->arg[i] = number(0);
		if (*types) {
			// Now and then something else than the type says.
			m->arg[i] = argument(one_in(30) ? '?' : *types, before);
			types++;
		}
	}
}

static void make(uint64_t seed)
{
	state = seed * 0x2545f4914f6cdd1d + 1;
	rnd();
	memset(&program, 0, sizeof program);
	program.n = 4 + below(MAX_CALLS - 4);
	program.threads = one_in(3) ? 2 + below(2) : 1;
	program.user = one_in(2) ? 1000 : 0;
	program.rounds = one_in(4) ? 3 : 1;
	program.fds = 3 + below(MAX_OPEN - 3);
	program.content = rnd();
	// A program keeps to a few kinds of descriptors, and to few calls, so
	// that calls meet each other.
	for (int i = 0; i < MAX_OPEN; i++)
		program.fd_kind[i] = i >= 2 && one_in(3) ? program.fd_kind[below(i)] : (int)below(FD_KINDS);
	for (int i = 0; i < program.n; i++) {
		make_call(&program.calls[i], i);
		if (i > 0 && one_in(3)) { // the same call again, with other arguments
			struct made *m = &program.calls[i];
			const char *types = "??????";
			*m = program.calls[below(i)];
			if (m->call >= 0)
				types = calls[m->call].types;
			for (int k = 0; k < 6 && types[k]; k++)
				if (one_in(2))
					m->arg[k] = argument(types[k], i);
		}
	}
}

// --- What the arena holds ---

static void fill(void)
{
	uint64_t saved = state;

	state = program.content;
	for (int part = 0; part < PARTS; part++)
		for (int i = 0; i < ITEMS; i++) {
			char *p = arena + part * PART_SIZE + i * ITEM_SIZE;
			switch (part) {
			case PATHS:
				snprintf(p, ITEM_SIZE, "%s", paths[below(LEN(paths))]);
				break;
			case STRINGS:
				snprintf(p, ITEM_SIZE, "%s", strings[below(LEN(strings))]);
				break;
			case IOVECS:
				for (int k = 0; k < ITEM_SIZE / 16; k++)
					((struct iovec *)p)[k] = (struct iovec){arena + below(ARENA), one_in(8) ? rnd() : below(5000)};
				break;
			case ADDRESSES:
				fill_address(p);
				break;
			case MESSAGES:
				*(struct msghdr *)p = (struct msghdr){
					one_in(2) ? NULL : arena + ADDRESSES * PART_SIZE, below(130), (struct iovec *)(arena + IOVECS * PART_SIZE),
					below(5), arena + CONTROLS * PART_SIZE + below(ITEMS) * ITEM_SIZE, below(ITEM_SIZE), below(4) << 5,
				};
				break;
			case CONTROLS:
				*(struct cmsghdr *)p = (struct cmsghdr){one_in(4) ? below(200) : 20, one_in(2) ? SOL_SOCKET : below(60), 1 + below(3)};
				for (int k = 0; k < 4; k++)
					((int *)p)[4 + k] = fds[below(MAX_OPEN)];
				break;
			case TIMES:
				for (int k = 0; k < ITEM_SIZE / 16; k++)
					((struct timespec *)p)[k] = (struct timespec){one_in(8) ? rnd() : 0, one_in(8) ? rnd() : below(2000000)};
				break;
			case WORDS:
				for (int k = 0; k < ITEM_SIZE / 4; k++)
					((int *)p)[k] = one_in(3) ? fds[below(MAX_OPEN)] : one_in(10) ? (int)rnd() : (int)below(10);
				break;
			case LONGS:
				for (int k = 0; k < ITEM_SIZE / 8; k++)
					((uint64_t *)p)[k] = one_in(3) ? (uint64_t)(arena + below(ARENA)) : rnd() >> below(64);
				break;
			case ZEROES:
				memset(p, 0, ITEM_SIZE);
				break;
			default:
				for (int k = 0; k < ITEM_SIZE; k++)
					p[k] = rnd();
			}
		}
	state = saved;
}

// --- Running ---

static uint64_t resolve(struct arg a)
{
	switch (a.kind) {
	case RESULT: return results[a.value];
	case FD: return fds[a.value];
	case POINTER: return (uint64_t)arena + a.value;
	case PID: return a.value == 0 ? getpid() : a.value == 1 ? syscall(SYS_gettid) : a.value == 2 ? child : 0x7ffffff0;
	default: return a.value;
	}
}

static void nothing(int sig) { (void)sig; }

static uint64_t left_out; // mask of calls

static void *run_calls(void *arg)
{
	int first = (int)(intptr_t)arg;

	for (int round = 0; round < program.rounds; round++)
		for (int i = first; i < program.n; i += program.threads) {
			struct made *m = &program.calls[i];
			uint64_t v[6];

			if (left_out >> i & 1)
				continue;
			for (int k = 0; k < 6; k++)
				v[k] = resolve(m->arg[k]);
			results[i] = syscall(m->nr, v[0], v[1], v[2], v[3], v[4], v[5]);
		}
	return NULL;
}

static void limits(void)
{
	static const struct { int what; rlim_t soft; } all[] = {
		{RLIMIT_AS, 256 << 20}, {RLIMIT_FSIZE, 2 << 20}, {RLIMIT_NOFILE, 100}, {RLIMIT_NPROC, 40}, {RLIMIT_CORE, 0},
		{RLIMIT_MEMLOCK, 1 << 20}, {RLIMIT_MSGQUEUE, 100000}, {RLIMIT_SIGPENDING, 100}, {RLIMIT_CPU, 5},
	};

	for (unsigned i = 0; i < LEN(all); i++)
		setrlimit(all[i].what, &(struct rlimit){all[i].soft, all[i].soft});
}

// become is a child's life: it makes the program's surroundings and runs it.
static void become(void)
{
	struct sigaction sa = {.sa_handler = nothing};
	struct itimerval tick = {{0, TICK * 1000}, {0, TICK * 1000}};
	pthread_t t;

	for (int i = 1; i < 65; i++)
		signal(i, SIG_DFL);
	setsid();
	unshare(CLONE_NEWNS);
	mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	limits();
	for (int i = 0, null = open("/dev/null", O_RDWR); i < 3; i++)
		dup2(null, i); // what a program writes is not the log's
	if (mkdir("/tmp/f", 0777) == 0)
		chmod("/tmp/f", 0777);
	if (chdir("/tmp/f") != 0)
		_exit(1);
	for (int i = 0; i < MAX_OPEN; i++)
		fds[i] = i < program.fds ? open_kind(program.fd_kind[i]) : fds[i % program.fds];
	fill();
	child = fork(); // somebody to send signals to, to wait for and to trace
	if (child == 0)
		for (;;)
			pause();
	if (program.user && (setgid(program.user) != 0 || setuid(program.user) != 0))
		_exit(1);
	sigaction(SIGALRM, &sa, NULL);
	sigaction(SIGPIPE, &sa, NULL);
	sigaction(SIGXFSZ, &sa, NULL);
	sigaction(SIGIO, &sa, NULL);
	setitimer(ITIMER_REAL, &tick, NULL);
	for (int i = 1; i < program.threads; i++)
		pthread_create(&t, NULL, run_calls, (void *)(intptr_t)i);
	run_calls(0);
	_exit(0);
}

static long now(void) // ms
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int gone(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)st;
	(void)type;
	(void)f;
	remove(path);
	return 0;
}

// run runs the program that was made, and clears up after it.
static void run(uint64_t seed)
{
	long began = now(), killed = 0;
	pid_t p = fork();

	if (p < 0) {
		printf("fuzz: fork: %s\n", strerror(errno));
		usleep(100000);
		return;
	}
	if (p == 0)
		become();
	for (;;) {
		int status;
		// Any child: one that is traced is not gone before its threads are
		// waited for, each by itself.
		pid_t q = waitpid(-1, &status, WNOHANG | __WALL);

		if (q > 0 && WIFSTOPPED(status))
			ptrace(PTRACE_CONT, q, 0, killed ? SIGKILL : 0);
		if ((q == p && !WIFSTOPPED(status) && !WIFCONTINUED(status)) || (q < 0 && errno == ECHILD))
			break;
		if (q > 0)
			continue;
		if (killed == 0 && now() - began > LIMIT) {
			kill(p, SIGKILL);
			killed = now();
		}
		if (killed && now() - killed > STUCK * 1000) {
			printf("fuzz: seed %lu: the child does not die\n", (unsigned long)seed);
			fflush(stdout);
			_exit(3);
		}
		usleep(now() - began < 10 ? 200 : 2000);
	}
	static const char *const written[] = {"/tmp/f", "/dev/shm", "/mnt", "/media"};

	// Whatever it has left behind is ours now.
	kill(-1, SIGKILL);
	while (waitpid(-1, NULL, __WALL) > 0)
		;
	umask(022);
	for (unsigned i = 0; i < LEN(written); i++)
		nftw(written[i], gone, 20, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

// --- Telling ---

static void print_arg(struct arg a)
{
	switch (a.kind) {
	case RESULT: printf("r%lu", (unsigned long)a.value); break;
	case FD: printf("fd%lu", (unsigned long)a.value); break;
	case POINTER: printf("arena+%#lx", (unsigned long)a.value); break;
	case PID: printf("pid%lu", (unsigned long)a.value); break;
	default: printf("%#lx", (unsigned long)a.value);
	}
}

static void print(uint64_t seed)
{
	printf("seed %lu: user %d, threads %d, rounds %d\n", (unsigned long)seed, program.user, program.threads, program.rounds);
	for (int i = 0; i < program.fds; i++)
		printf("fd%d: %s\n", i, fd_names[program.fd_kind[i]]);
	for (int i = 0; i < program.n; i++) {
		struct made *m = &program.calls[i];

		if (left_out >> i & 1)
			continue;
		printf("r%d = %s", i, m->call >= 0 ? calls[m->call].name : "syscall");
		if (m->call < 0)
			printf(" %ld", m->nr);
		for (int k = 0; k < 6; k++) {
			printf(k ? ", " : "(");
			print_arg(m->arg[k]);
			if (m->arg[k].kind == POINTER && m->arg[k].value / PART_SIZE == PATHS)
				printf(" \"%s\"", arena + m->arg[k].value);
		}
		printf(")\n");
	}
	fflush(stdout);
}

static long free_memory(void) // KB
{
	char line[100];
	long kb = -1;
	FILE *f = fopen("/proc/meminfo", "r");

	while (f && fgets(line, sizeof line, f))
		if (sscanf(line, "MemFree: %ld", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb;
}

// seal continues as a copy of this program that nobody can write to: programs
// find this one by name, and truncate it.
static void seal(char **argv)
{
	struct stat st;
	int from = open("/proc/self/exe", O_RDONLY), to = memfd_create("fuzz", MFD_ALLOW_SEALING | MFD_CLOEXEC);

	if (strcmp(argv[0], "sealed") == 0 || from < 0 || to < 0 || fstat(from, &st) != 0)
		return;
	while (sendfile(to, from, NULL, st.st_size) > 0)
		;
	fcntl(to, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	argv[0] = "sealed";
	fexecve(to, argv, environ);
}

int main(int argc, char **argv)
{
	uint64_t seed;
	char *block;
	long n = 0;

	seal(argv);

	setvbuf(stdout, NULL, _IOLBF, 0);
	block = mmap(NULL, ARENA + 2 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	arena = block + 4096;
	mprotect(block, 4096, PROT_NONE);
	mprotect(arena + ARENA, 4096, PROT_NONE);
	if (argc < 3) {
		fprintf(stderr, "usage: fuzz run FIRST SECONDS | print SEED [MASK] | one SEED [MASK]\n");
		return 2;
	}
	seed = strtoull(argv[2], NULL, 0);
	if (strcmp(argv[1], "run") != 0) {
		if (argc > 3)
			left_out = strtoull(argv[3], NULL, 0);
		make(seed);
		fill();
		print(seed);
		for (int i = 0; i < 100 && strcmp(argv[1], "one") == 0; i++)
			run(seed);
		puts("fuzz: ok");
		return 0;
	}
	// Programs send signals to process groups that they guess.
	for (int i = 1; i < 65; i++)
		if (i != SIGCHLD)
			signal(i, SIG_IGN);
	chmod("/mnt", 01777);
	chmod("/media", 01777);
	long end = now() + atol(argv[3]) * 1000;
	for (; now() < end; seed++, n++) {
		if (n % 200 == 0)
			printf("free %ld KB\n", free_memory());
		printf("%lu\n", (unsigned long)seed);
		make(seed);
		run(seed);
	}
	printf("fuzz: %ld programs, ok\n", n);
	return 0;
}
