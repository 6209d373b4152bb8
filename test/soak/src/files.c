// Files on the volume: each is made under one name, synchronised now and then,
// renamed, and removed when KEPT others have come after it.

#include "soak.h"

enum { KEPT = 200, LONGEST = 8192 };

static const char folder[] = "/data/files";

static const char *path(const char *kind, long n)
{
	static char paths[2][64];
	static int next;
	next = !next;
	snprintf(paths[next], sizeof paths[next], "%s/%s-%ld", folder, kind, n);
	return paths[next];
}

// content fills text with what file n has, and returns how much that is.
static size_t content(long n, char *text)
{
	size_t size = 1 + n * 7919 % LONGEST;
	for (size_t i = 0; i < size; i++)
		text[i] = 'a' + (n + i) % 23;
	return size;
}

static void make_folder(void)
{
	CHECK(mkdir(folder, 0755) == 0);
}

static void make_file(long n)
{
	static char text[LONGEST];
	size_t size = content(n, text);
	int fd = open(path("new", n), O_CREAT | O_EXCL | O_WRONLY, 0644);
	CHECK(fd >= 0);
	CHECK(write(fd, text, size) == (ssize_t)size);
	if (n % 100 == 0)
		CHECK(fsync(fd) == 0);
	CHECK(close(fd) == 0);
	CHECK(rename(path("new", n), path("file", n)) == 0);
	if (n >= KEPT)
		CHECK(unlink(path("file", n - KEPT)) == 0);
}

const struct work files = {"files", make_folder, make_file, 0};

void verify_files(long done)
{
	static char want[LONGEST], got[LONGEST + 1];
	long first = done > KEPT ? done - KEPT : 0;
	for (long n = first; n < done; n++) {
		size_t size = content(n, want);
		int fd = open(path("file", n), O_RDONLY);
		CHECK(fd >= 0);
		CHECK(read(fd, got, sizeof got) == (ssize_t)size);
		CHECK(memcmp(want, got, size) == 0);
		close(fd);
		CHECK(unlink(path("file", n)) == 0);
	}
	CHECK(rmdir(folder) == 0); // there were no others
	printf("verified %ld files\n", done - first);
}
