// mapshare checks that read, write and mappings of one file agree, within a
// process and between two.
//
// usage: mapshare FILE

#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>
#include "check.h"

enum { PAGE = 4096, PAGES = 64 };

static char *map(int fd, int prot, int flags)
{
	char *p = mmap(NULL, PAGES * PAGE, prot, flags, fd, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

int main(int argc, char **argv)
{
	char c;
	int fd, status;
	char *shared, *other, *private;

	CHECK(argc == 2);
	fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0644);
	CHECK(fd >= 0);
	CHECK(ftruncate(fd, PAGES * PAGE) == 0);
	shared = map(fd, PROT_READ | PROT_WRITE, MAP_SHARED);
	other = map(fd, PROT_READ, MAP_SHARED);
	private = map(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE);

	// Each way of writing is seen by each way of reading.
	shared[10] = 'a';
	CHECK(pread(fd, &c, 1, 10) == 1 && c == 'a');
	CHECK(other[10] == 'a' && private[10] == 'a');
	CHECK(pwrite(fd, "b", 1, 11) == 1);
	CHECK(shared[11] == 'b' && other[11] == 'b' && private[11] == 'b');
	private[12] = 'c';
	CHECK(pread(fd, &c, 1, 12) == 1 && c == 0);
	CHECK(shared[12] == 0);
	CHECK(pwrite(fd, "d", 1, 12) == 1);
	CHECK(private[12] == 'c' && shared[12] == 'd');

	// After writing back, a mapping that was writable still counts.
	CHECK(fsync(fd) == 0);
	shared[10] = 'e';
	CHECK(fsync(fd) == 0);
	shared[20] = 'f';
	CHECK(msync(shared, PAGE, MS_SYNC) == 0);
	CHECK(pread(fd, &c, 1, 20) == 1 && c == 'f');

	// Another process sees it, and is seen.
	if (fork() == 0) {
		CHECK(shared[10] == 'e');
		shared[5 * PAGE] = 'g';
		CHECK(pwrite(fd, "h", 1, 6 * PAGE) == 1);
		_exit(0);
	}
	CHECK(wait(&status) > 0 && status == 0);
	CHECK(other[5 * PAGE] == 'g' && other[6 * PAGE] == 'h');

	// What lies behind the end of the file cannot be touched, and is zero
	// when it comes back.
	CHECK(ftruncate(fd, PAGE + 100) == 0);
	if (fork() == 0) {
		c = *(volatile char *)(shared + 5 * PAGE);
		_exit(0);
	}
	CHECK(wait(&status) > 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	shared[PAGE + 200] = 'z'; // behind the end, in its page
	CHECK(ftruncate(fd, PAGES * PAGE) == 0);
	CHECK(shared[PAGE + 200] == 0 && shared[5 * PAGE] == 0);
	CHECK(pread(fd, &c, 1, 5 * PAGE) == 1 && c == 0);

	// A file without a name works on.
	CHECK(unlink(argv[1]) == 0);
	shared[0] = 'q';
	CHECK(pread(fd, &c, 1, 0) == 1 && c == 'q');
	puts("mapshare: ok");
	return 0;
}
