// fsx: random operations on a file, compared with a model in memory.
//
// usage: fsx FILE OPERATIONS [SEED]
//
// Reads, writes, shared and private mappings, truncation both ways, holes,
// preallocation, fsync, closing and opening again, all at random places and
// lengths. After each operation what was read must be what the model has, and
// the size too; at the end the whole file is compared. The last operations are
// printed when something differs.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_SIZE (1 << 20)
#define MAX_LENGTH (200 << 10)
#define PAGE 4096L

static unsigned char model[MAX_SIZE], buffer[MAX_SIZE];
static long size;
static int fd;
static const char *path;
static long operation;
static uint64_t state;

// The last operations, a line each.
static char history[64][100];

static uint64_t next(void) { // xorshift64*
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * 2685821657736338717ULL;
}

static long below(long n) { return (long)(next() >> 11) % n; }

static void note(const char *format, ...) {
	va_list ap;
	va_start(ap, format);
	vsnprintf(history[operation % 64], sizeof history[0], format, ap);
	va_end(ap);
}

static void fail(const char *what) {
	int e = errno;
	for (long i = operation < 63 ? 0 : operation - 63; i <= operation; i++)
		fprintf(stderr, "fsx: %ld: %s\n", i, history[i % 64]);
	fprintf(stderr, "fsx: %s (%s)\n", what, strerror(e));
	exit(1);
}

static void compare(const unsigned char *got, long off, long length) {
	if (memcmp(got, model + off, length) == 0)
		return;
	long i = 0;
	while (got[i] == model[off + i])
		i++;
	fprintf(stderr, "fsx: byte %ld is %#x, want %#x\n", off + i, got[i], model[off + i]);
	errno = 0;
	fail("content differs");
}

// fill makes new content, zeros now and then.
static void fill(long length) {
	uint64_t v = next();
	if (v % 7 == 0) {
		memset(buffer, 0, length);
		return;
	}
	for (long i = 0; i < length; i++)
		buffer[i] = (unsigned char)(v >> (i % 8 * 8)) + (unsigned char)i;
}

// extend makes the model at least so long.
static void extend(long end) {
	if (end > size)
		size = end; // what is beyond the size is zero, see shrink
}

static void do_read(long off, long length) {
	note("read %ld at %ld of %ld", length, off, size);
	long want = off >= size ? 0 : off + length > size ? size - off : length;
	long n = pread(fd, buffer, length, off);
	if (n != want)
		fail("read returned another number of bytes");
	compare(buffer, off, n);
}

static void do_write(long off, long length) {
	note("write %ld at %ld of %ld", length, off, size);
	fill(length);
	if (pwrite(fd, buffer, length, off) != length)
		fail("write");
	memcpy(model + off, buffer, length);
	extend(off + length);
}

static void do_append(long length) {
	if (size + length > MAX_SIZE)
		return;
	note("append %ld to %ld", length, size);
	fill(length);
	int a = open(path, O_WRONLY | O_APPEND);
	if (a < 0 || write(a, buffer, length) != length || close(a) != 0)
		fail("append");
	memcpy(model + size, buffer, length);
	extend(size + length);
}

// do_map reads or writes through a mapping.
static void do_map(long off, long length, int writes, int shared) {
	if (off >= size)
		return;
	if (off + length > size)
		length = size - off;
	note("map %s %s %ld at %ld of %ld", shared ? "shared" : "private", writes ? "write" : "read", length, off, size);
	long start = off / PAGE * PAGE, total = off + length - start;
	unsigned char *p = mmap(NULL, total, PROT_READ | (writes ? PROT_WRITE : 0), shared ? MAP_SHARED : MAP_PRIVATE, fd, start);
	if (p == MAP_FAILED)
		fail("mmap");
	if (writes) {
		fill(length);
		memcpy(p + (off - start), buffer, length);
		if (shared)
			memcpy(model + off, buffer, length);
		else
			compare(p, start, off - start);
		// What is written behind the end of the file, in its last page, is
		// never to be seen again.
		if (shared && off + length == size && size % PAGE != 0)
			memset(p + total, 0xee, PAGE - size % PAGE);
		if (shared && below(4) == 0 && msync(p, total, MS_SYNC) != 0)
			fail("msync");
	} else {
		compare(p, start, total);
	}
	if (munmap(p, total) != 0)
		fail("munmap");
}

// shrink zeroes the model behind its end.
static void shrink(long to) {
	memset(model + to, 0, MAX_SIZE - to);
	size = to;
}

static void do_truncate(long to) {
	note("truncate %ld to %ld", size, to);
	if (ftruncate(fd, to) != 0)
		fail("ftruncate");
	if (to < size)
		shrink(to);
	else
		extend(to);
}

static void do_fallocate(long off, long length, int mode, const char *what) {
	note("%s %ld at %ld of %ld", what, length, off, size);
	if (fallocate(fd, mode, off, length) != 0) {
		if (errno == EOPNOTSUPP)
			return;
		fail("fallocate");
	}
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) {
		long end = off + length > size ? size : off + length;
		if (off < end)
			memset(model + off, 0, end - off);
	}
	if (!(mode & FALLOC_FL_KEEP_SIZE))
		extend(off + length);
}

static void do_reopen(void) {
	note("close and open");
	if (close(fd) != 0 || (fd = open(path, O_RDWR)) < 0)
		fail("open");
}

static void do_sync(void) {
	note("sync");
	int r = below(3) == 0 ? syncfs(fd) : below(2) ? fsync(fd) : fdatasync(fd);
	if (r != 0)
		fail("sync");
}

// do_seek checks that no data lies in what is said to be a hole.
static void do_seek(long off) {
	if (off >= size)
		return;
	note("seek data from %ld of %ld", off, size);
	long data = lseek(fd, off, SEEK_DATA);
	if (data < 0 && errno == ENXIO)
		data = size;
	if (data < off || data > size)
		fail("SEEK_DATA");
	for (long i = off; i < data; i++)
		if (model[i] != 0)
			fail("data in a hole");
}

static void step(void) {
	long off = below(MAX_SIZE), length = 1 + below(below(4) ? 8192 : MAX_LENGTH);
	if (below(4) == 0)
		off = off / PAGE * PAGE;
	if (below(4) == 0)
		length = (length + PAGE - 1) / PAGE * PAGE;
	if (off + length > MAX_SIZE)
		length = MAX_SIZE - off;
	switch (below(20)) {
	case 0: case 1: case 2: case 3:
		do_read(off, length);
		break;
	case 4: case 5: case 6: case 7:
		do_write(off, length);
		break;
	case 8:
		do_append(1 + below(10000));
		break;
	case 9: case 10:
		do_map(off, length, 0, below(2));
		break;
	case 11: case 12: case 13:
		do_map(off, length, 1, below(4) != 0);
		break;
	case 14:
		do_truncate(below(2) ? below(MAX_SIZE) : below(size + 1));
		break;
	case 15:
		do_fallocate(off, length, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, "punch");
		break;
	case 16:
		do_fallocate(off, length, below(2) ? FALLOC_FL_ZERO_RANGE : 0, "allocate");
		break;
	case 17:
		do_reopen();
		break;
	case 18:
		do_seek(off);
		break;
	default:
		if (below(4) == 0)
			do_sync();
	}
	struct stat st;
	if (fstat(fd, &st) != 0 || st.st_size != size)
		fail("size differs");
}

int main(int argc, char **argv) {
	if (argc < 3) {
		fprintf(stderr, "usage: fsx FILE OPERATIONS [SEED]\n");
		return 2;
	}
	path = argv[1];
	long operations = atol(argv[2]);
	state = 88172645463325252ULL + (argc > 3 ? strtoull(argv[3], NULL, 0) : 0) * 7919;
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
	if (fd < 0)
		fail("create");
	for (operation = 0; operation < operations; operation++)
		step();
	do_reopen();
	for (long off = 0; off < size; off += MAX_LENGTH)
		do_read(off, MAX_LENGTH);
	if (fsync(fd) != 0)
		fail("fsync");
	printf("fsx: %ld operations, %ld bytes: ok\n", operations, size);
	return 0;
}
