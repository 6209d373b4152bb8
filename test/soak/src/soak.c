// soak: process 1 of the soak test.
//
//	soak SECONDS CONNECTIONS OTHERS
//
// makes CONNECTIONS short connections of the loopback, and does each of the
// other works OTHERS times, evenly over SECONDS, while Redis serves, and a server
// for connections from outside. It prints what memory there is every sixtieth
// part of an hour, or every twelfth of a shorter time:
//
//	memory S free=KB available=KB cached=KB slab=KB done=N,N,N,N
//
// and "worked" when all is done. It ends when Redis has ended.
//
//	soak verify N
//
// looks whether the files are there that must be when N have been made.

#include "soak.h"

static const struct work *works[] = {&connections, &programs, &files, &threads};
enum { WORKS = sizeof works / sizeof *works };

// done is how often each work has been done, which all processes see.
static volatile long *done;

static double now(void) // in s
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static pid_t start(void (*run)(void))
{
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		run();
		_exit(0);
	}
	return child;
}

// work does a work count times, evenly over a time. Where it is late, it does
// not wait.
static pid_t work(int i, long count, double seconds)
{
	pid_t child = fork();
	CHECK(child >= 0);
	if (child != 0)
		return child;
	const struct work *w = works[i];
	if (w->begin)
		w->begin();
	double begin = now();
	for (long n = 0; n < count; n++) {
		double wait = begin + seconds * n / count - now();
		if (wait > 0)
			usleep(wait * 1e6);
		w->once(n);
		done[i] = n + 1;
	}
	_exit(0);
}

static void redis(void)
{
	// Quiet, and with the save points that Debian's configuration has.
	execl("/usr/bin/redis-server", "redis-server", "--dir", "/data", "--protected-mode", "no", "--loglevel", "warning",
	      "--save", "3600 1 300 100 60 10000", (char *)NULL);
	CHECK(!"execl");
}

static long meminfo(const char *text, const char *field)
{
	const char *at = strstr(text, field);
	return at ? strtol(at + strlen(field), NULL, 10) : -1;
}

// print_memory prints the best of a few samples: a child that is being made, or
// one that saves the database, has memory of its own for a moment.
static void print_memory(double begin)
{
	char text[8192], best[8192] = "";
	for (int i = 0; i < 20; i++) {
		int fd = open("/proc/meminfo", O_RDONLY);
		ssize_t n = read(fd, text, sizeof text - 1);
		CHECK(n > 0);
		close(fd);
		text[n] = 0;
		if (meminfo(text, "MemAvailable:") > meminfo(best, "MemAvailable:"))
			memcpy(best, text, n + 1);
		usleep(200000);
	}
	printf("memory %.0f free=%ld available=%ld cached=%ld slab=%ld done=", now() - begin, meminfo(best, "MemFree:"),
	       meminfo(best, "MemAvailable:"), meminfo(best, "\nCached:"), meminfo(best, "Slab:"));
	for (int i = 0; i < WORKS; i++)
		printf("%s%ld", i ? "," : "", done[i]);
	puts("");
	fflush(stdout);
}

// reap returns how many of the workers have ended, well.
static int reap(const pid_t workers[])
{
	int ended = 0;
	for (int status; ; ) {
		pid_t child = waitpid(-1, &status, WNOHANG);
		if (child <= 0)
			return ended;
		int known = 0;
		for (int i = 0; i < WORKS; i++)
			known |= workers[i] == child;
		if (!known || status != 0) {
			printf("process %d ended with status %#x\n", child, status);
			fflush(stdout);
			exit(1);
		}
		ended++;
	}
}

static void run(double seconds, const long counts[])
{
	done = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(done != MAP_FAILED);
	pid_t database = start(redis);
	pid_t server = start(serve);
	pid_t workers[WORKS];
	for (int i = 0; i < WORKS; i++)
		workers[i] = work(i, counts[i], seconds);

	double begin = now(), every = seconds >= 3600 ? 60 : seconds / 12;
	int ended = 0;
	for (double next = begin + every; ended < WORKS; ended += reap(workers)) {
		if (now() >= next) {
			print_memory(begin);
			next += every;
		}
		usleep(100000);
	}
	printf("worked %.0f\n", now() - begin);
	fflush(stdout);
	int status;
	CHECK(waitpid(database, &status, 0) == database && status == 0);
	kill(server, SIGKILL);
	waitpid(server, &status, 0);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "true"))
		return 0;
	if (argc == 3 && !strcmp(argv[1], "verify")) {
		verify_files(atol(argv[2]));
		return 0;
	}
	if (argc != 4) {
		fprintf(stderr, "usage: soak SECONDS CONNECTIONS OTHERS | verify FILES\n");
		return 2;
	}
	long counts[WORKS];
	for (int i = 0; i < WORKS; i++)
		counts[i] = atol(argv[works[i]->many ? 2 : 3]);
	run(atof(argv[1]), counts);
	puts("done");
	return 0;
}
