// storage measures a mounted file system from inside a guest. It prints lines
// "NAME VALUE".
//
// usage: storage DIRECTORY, which has the files seq and rand, not in any cache.

#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 64 << 10, PAGE = 4096, WRITE = 64 << 20, READS = 2000, APPENDS = 300 };

static char buffer[BLOCK];

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static int must_open(const char *name, int flags)
{
	int fd = open(name, flags, 0644);

	if (fd < 0)
		fail(name);
	return fd;
}

static void sequential_read(void)
{
	int fd = must_open("seq", O_RDONLY);
	double begin = now();
	long total = 0, n;

	while ((n = read(fd, buffer, BLOCK)) > 0)
		total += n;
	if (n < 0)
		fail("read");
	printf("sequential read, MB/s %.1f\n", total / 1e6 / (now() - begin));
	close(fd);
}

static void random_read(void)
{
	int fd = must_open("rand", O_RDONLY);
	struct stat st;
	unsigned long state = 88172645463325252UL;
	double begin;

	if (fstat(fd, &st) != 0)
		fail("stat");
	begin = now();
	for (int i = 0; i < READS; i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		if (pread(fd, buffer, PAGE, (off_t)(state % (st.st_size / PAGE)) * PAGE) != PAGE)
			fail("pread");
	}
	printf("random read of 4 KB, /s %.0f\n", READS / (now() - begin));
	close(fd);
}

static void sequential_write(void)
{
	int fd = must_open("new", O_WRONLY | O_CREAT | O_TRUNC);
	double begin = now();

	for (long n = 0; n < WRITE; n += BLOCK)
		if (write(fd, buffer, BLOCK) != BLOCK)
			fail("write");
	if (fsync(fd) != 0)
		fail("fsync");
	printf("sequential write and fsync, MB/s %.1f\n", WRITE / 1e6 / (now() - begin));
	close(fd);
}

static void append(void)
{
	int fd = must_open("log", O_WRONLY | O_CREAT | O_APPEND);
	double begin = now();

	for (int i = 0; i < APPENDS; i++)
		if (write(fd, buffer, 200) != 200 || fsync(fd) != 0)
			fail("append");
	printf("append and fsync, /s %.0f\n", APPENDS / (now() - begin));
	close(fd);
}

int main(int argc, char **argv)
{
	if (argc != 2 || chdir(argv[1]) != 0)
		fail("usage: storage DIRECTORY");
	memset(buffer, 'k', sizeof buffer);
	sequential_read();
	random_read();
	sequential_write();
	append();
	puts("storage: ok");
	fflush(stdout);
	return 0;
}
