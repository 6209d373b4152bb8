/*
 * recorder DIRECTORY [verify] writes to a file system that may lose its power
 * at any moment, and says what of it must be there afterwards.
 *
 * It first tells what it finds of the time before, a line for each:
 *
 *	found log N        N records are in "log", in order and whole
 *	found state N      "state" has number N
 *	found slot I N     slot I of "slots" has number N, 0 if it is empty
 *	found file N       "files/N" is whole
 *	broken WHAT        something is not as any order of events could leave it
 *
 * then, unless it is only to verify, goes on writing, and says
 *
 *	ack log N          the record was appended, and fsync returned
 *	ack state N        a new "state" was renamed over the old; fsync of both
 *	ack slot N         slot N % SLOTS was overwritten; fdatasync returned
 *	ack file N         "files/N" was made; fsync of it and of the directory.
 *	                   Before that, "files/N-KEEP" was removed
 *
 * All content follows from the kind and the number.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX = 8192, SLOTS = 16, SECTOR = 512, KEEP = 8 };
enum kind { LOG = 1, STATE, SLOT, ENTRY };

struct header {
	uint32_t kind, number, size, sum;
};

static void die(const char *what)
{
	printf("recorder: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void say(const char *format, ...)
{
	char line[128];
	va_list args;
	va_start(args, format);
	int n = vsnprintf(line, sizeof line, format, args);
	va_end(args);
	if (write(1, line, n) != n)
		exit(1);
}

/* sum is FNV-1a. */
static uint32_t sum(const unsigned char *p, size_t n)
{
	uint32_t h = 2166136261u;
	while (n--)
		h = (h ^ *p++) * 16777619u;
	return h;
}

/* make puts record number of a kind into b and returns its size. */
static size_t make(unsigned char *b, enum kind kind, uint32_t number)
{
	uint32_t x = number * 2654435761u + kind;
	size_t size = kind == SLOT ? SECTOR : sizeof(struct header) + 1 + x % 6000;
	for (size_t i = sizeof(struct header); i < size; i++) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		b[i] = x;
	}
	struct header h = {kind, number, size, sum(b + sizeof h, size - sizeof h)};
	memcpy(b, &h, sizeof h);
	return size;
}

/* whole tells whether the n bytes at b are a record of a kind, and which. */
static int whole(const unsigned char *b, size_t n, enum kind kind, uint32_t *number)
{
	unsigned char want[MAX];
	struct header h;
	if (n < sizeof h)
		return 0;
	memcpy(&h, b, sizeof h);
	*number = h.number;
	return h.kind == kind && make(want, kind, h.number) == n && memcmp(b, want, n) == 0;
}

/* load reads a file of at most MAX bytes. It returns -1 if there is none. */
static ssize_t load(const char *name, unsigned char *b)
{
	int fd = open(name, O_RDONLY);
	if (fd < 0) {
		if (errno == ENOENT)
			return -1;
		die(name);
	}
	ssize_t n = read(fd, b, MAX);
	if (n < 0)
		die(name);
	close(fd);
	return n;
}

static void write_all(int fd, const unsigned char *b, size_t n, const char *what)
{
	while (n > 0) {
		ssize_t w = write(fd, b, n);
		if (w < 0)
			die(what);
		b += w;
		n -= w;
	}
}

static void sync_directory(const char *name)
{
	int fd = open(name, O_RDONLY | O_DIRECTORY);
	if (fd < 0 || fsync(fd) < 0)
		die(name);
	close(fd);
}

/* save makes a file with record number of a kind, durable but for its name. */
static void save(const char *name, enum kind kind, uint32_t number)
{
	unsigned char b[MAX];
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd < 0)
		die(name);
	write_all(fd, b, make(b, kind, number), name);
	if (fsync(fd) < 0)
		die(name);
	close(fd);
}

/*
 * find_log returns how many records are whole, and cuts off what follows: the
 * beginning of the next one at most.
 */
static uint32_t find_log(int fd)
{
	unsigned char want[MAX], got[MAX];
	uint32_t count = 0;
	off_t off = 0;
	for (;;) {
		size_t size = make(want, LOG, count + 1);
		ssize_t n = pread(fd, got, size, off);
		if (n < 0)
			die("log");
		if (memcmp(got, want, n) != 0) {
			size_t at = 0;
			while (got[at] == want[at])
				at++;
			say("broken log record %u of %zu bytes at byte %zu\n", count + 1, size, at);
		}
		if ((size_t)n < size || memcmp(got, want, n) != 0)
			break;
		count++;
		off += n;
	}
	if (ftruncate(fd, off) < 0 || fsync(fd) < 0 || lseek(fd, off, SEEK_SET) < 0)
		die("log");
	say("found log %u\n", count);
	return count;
}

static uint32_t find_state(void)
{
	unsigned char b[MAX];
	uint32_t number = 0;
	ssize_t n = load("state", b);
	if (n >= 0 && !whole(b, n, STATE, &number))
		say("broken state of %zd bytes\n", n);
	say("found state %u\n", number);
	return number;
}

/* empty tells whether nothing was ever written to the n bytes at b. */
static int empty(const unsigned char *b, ssize_t n)
{
	while (n > 0 && b[n - 1] == 0)
		n--;
	return n == 0;
}

static uint32_t find_slots(int fd)
{
	unsigned char b[SECTOR];
	uint32_t last = 0;
	for (int i = 0; i < SLOTS; i++) {
		uint32_t number = 0;
		ssize_t n = pread(fd, b, SECTOR, (off_t)i * SECTOR);
		if (n < 0)
			die("slots");
		if (!empty(b, n) && !whole(b, n, SLOT, &number))
			say("broken slot %d\n", i);
		say("found slot %d %u\n", i, number);
		if (number > last)
			last = number;
	}
	return last;
}

static uint32_t find_files(void)
{
	unsigned char b[MAX];
	char name[300];
	uint32_t last = 0;
	DIR *d = opendir("files");
	if (!d)
		die("files");
	for (struct dirent *e; (e = readdir(d));) {
		uint32_t number, named = strtoul(e->d_name, NULL, 10);
		if (e->d_name[0] == '.')
			continue;
		snprintf(name, sizeof name, "files/%s", e->d_name);
		ssize_t n = load(name, b);
		if (n >= 0 && whole(b, n, ENTRY, &number) && number == named)
			say("found file %u\n", named);
		if (named > last)
			last = named;
	}
	closedir(d);
	return last;
}

int main(int argc, char **argv)
{
	if (argc < 2 || chdir(argv[1]) < 0)
		die("usage: recorder DIRECTORY [verify]");
	mkdir("files", 0755);
	int log = open("log", O_RDWR | O_CREAT, 0644);
	int slots = open("slots", O_RDWR | O_CREAT, 0644);
	if (log < 0 || slots < 0)
		die("open");
	uint32_t l = find_log(log), t = find_state(), s = find_slots(slots), f = find_files();
	sync_directory(".");
	say("ready\n");
	if (argc > 2)
		return 0;
	for (uint32_t round = 0;; round++) {
		unsigned char b[MAX];
		char name[32];
		write_all(log, b, make(b, LOG, ++l), "log");
		if (fsync(log) < 0)
			die("log");
		say("ack log %u\n", l);

		make(b, SLOT, ++s);
		if (pwrite(slots, b, SECTOR, (off_t)(s % SLOTS) * SECTOR) != SECTOR || fdatasync(slots) < 0)
			die("slots");
		say("ack slot %u\n", s);

		save("state.new", STATE, ++t);
		if (rename("state.new", "state") < 0)
			die("state");
		sync_directory(".");
		say("ack state %u\n", t);

		snprintf(name, sizeof name, "files/%u", ++f - KEEP);
		if (f > KEEP && unlink(name) < 0 && errno != ENOENT)
			die(name);
		snprintf(name, sizeof name, "files/%u", f);
		save(name, ENTRY, f);
		sync_directory("files");
		say("ack file %u\n", f);
	}
}
