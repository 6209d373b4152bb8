// Programs have nearly all of memory. What is small can still be saved: files in
// memory leave to programs as much as they have themselves.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../check.h"

// FEW is how many KB are left when the programs have nearly all: fewer than files
// in memory leave to them at most.
enum { FEW = 1800, STEP = 16 << 10 };

static int available(void)
{
	char line[128];
	int kb = -1;
	FILE *f = fopen("/proc/meminfo", "r");

	CHECK(f != NULL);
	while (kb < 0 && fgets(line, sizeof line, f))
		sscanf(line, "MemAvailable: %d kB", &kb);
	CHECK(kb >= 0);
	fclose(f);
	return kb;
}

static void save(int fd, int bytes)
{
	static char data[64 << 10];

	CHECK(fd >= 0);
	for (int left = bytes; left > 0;) {
		ssize_t n = write(fd, data, left < (int)sizeof data ? left : (int)sizeof data);
		CHECK(n > 0);
		left -= n;
	}
	CHECK(close(fd) == 0);
}

int main(void)
{
	int kb;

	save(open("/tmp/before", O_CREAT | O_WRONLY, 0600), 100);
	for (kb = available(); kb >= FEW; kb = available()) {
		char *p = mmap(NULL, STEP, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHECK(p != MAP_FAILED);
		for (int i = 0; i < STEP; i += 4096)
			p[i] = 1;
	}
	save(open("/tmp/small", O_CREAT | O_WRONLY, 0600), 100);
	save(open("/tmp/small", O_APPEND | O_WRONLY), 200 << 10);
	save(memfd_create("small", 0), 100 << 10);

	// As a server saves: a child writes, and renames.
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		save(open("/tmp/child", O_CREAT | O_WRONLY, 0600), 40 << 10);
		_exit(rename("/tmp/child", "/tmp/saved") ? 1 : 0);
	}
	int status;
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	printf("lastsave: ok\n");
	return 0;
}
