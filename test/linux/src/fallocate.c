// Every mode of fallocate(2), on files with data and holes, and its checks. Modes
// whose error later Linux has changed are left out.
#include "print.h"
#include <linux/falloc.h>
#include <sys/resource.h>

#define P 4096

static const struct { const char *name; int mode; } modes[] = {
	{"0", 0},
	{"KEEP", FALLOC_FL_KEEP_SIZE},
	{"PUNCH|KEEP", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE},
	{"PUNCH", FALLOC_FL_PUNCH_HOLE},
	{"ZERO", FALLOC_FL_ZERO_RANGE},
	{"ZERO|KEEP", FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE},
	{"COLLAPSE", FALLOC_FL_COLLAPSE_RANGE},
	{"INSERT", FALLOC_FL_INSERT_RANGE},
	{"UNSHARE", FALLOC_FL_UNSHARE_RANGE},
	{"PUNCH|ZERO|KEEP", FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE},
	{"0x1000", 0x1000},
};
#define MODES (sizeof modes / sizeof *modes)

// fill writes pages a, b, c, …, h, with a hole at d.
static int fill(void) {
	int f = open("file", O_RDWR | O_CREAT | O_TRUNC, 0644);
	char b[P];
	for (int i = 0; i < 8; i++)
		if (i != 3) {
			memset(b, 'a' + i, P);
			pwrite(f, b, P, i * P);
		}
	return f;
}

// show prints the size and the file in runs of equal bytes.
static void show(const char *what, int f) {
	static char b[64 * P], line[2000];
	struct stat st;
	fstat(f, &st);
	int n = pread(f, b, sizeof b, 0), at = snprintf(line, sizeof line, "size %ld:", (long)st.st_size);
	for (int i = 0, j; i < n; i = j) {
		for (j = i; j < n && b[j] == b[i]; j++)
			;
		at += snprintf(line + at, sizeof line - at, " %d%c", j - i, b[i] ? b[i] : '-');
	}
	SAY(what, "%s", line);
}

static void ranges(void) {
	static const struct { long off, len; } r[] = {
		{0, P}, {P, 2 * P}, {0, 8 * P}, {2 * P, 3 * P}, {100, 50}, {P - 10, 20}, {P + 10, 3 * P}, {7 * P, 2 * P}, {7 * P, P}, {8 * P, P}, {9 * P, P},
		{20 * P + 5, 10}, {0, 40 * P},
	};
	for (unsigned i = 0; i < sizeof r / sizeof *r; i++)
		for (unsigned m = 0; m < MODES; m++) {
			char what[100];
			int f = fill();
			errno = 0;
			int res = fallocate(f, modes[m].mode, r[i].off, r[i].len);
			snprintf(what, sizeof what, "fallocate %s %ld+%ld", modes[m].name, r[i].off, r[i].len);
			result(what, res);
			if (res == 0) {
				strcat(what, ", file");
				show(what, f);
			}
			close(f);
		}
}

static void checks(void) {
	int f = fill(), ro = open("file", O_RDONLY), path = open("file", O_PATH), dir = open(".", O_RDONLY), p[2], s[2];
	pipe(p);
	socketpair(AF_UNIX, SOCK_STREAM, 0, s);
	for (unsigned m = 0; m < 8; m++) {
		char what[100];
		const struct { const char *name; int fd; long off, len; } t[] = {
			{"nothing", f, 0, 0}, {"negative length", f, 0, -1}, {"negative offset", f, -1, 10}, {"far", f, 1L << 62, 1L << 62},
			{"read only", ro, 0, P}, {"O_PATH", path, 0, P}, {"a directory", dir, 0, P}, {"a pipe", p[1], 0, P}, {"a socket", s[0], 0, P}, {"closed", 99, 0, P},
		};
		for (unsigned i = 0; i < sizeof t / sizeof *t; i++) {
			snprintf(what, sizeof what, "%s of %s", modes[m].name, t[i].name);
			errno = 0;
			result(what, fallocate(t[i].fd, modes[m].mode, t[i].off, t[i].len));
		}
	}
	int null = open("/dev/null", O_WRONLY);
	PRINT(fallocate(null, 0, 0, P));
	int a = open("file", O_WRONLY | O_APPEND);
	PRINT(fallocate(a, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, P));
	PRINT(fallocate(a, FALLOC_FL_KEEP_SIZE, 0, P));
	PRINT(posix_fallocate(f, 0, 9 * P));
	show("after posix_fallocate", f);
}

static void mapped(void) {
	int f = fill();
	char *m = mmap(0, 8 * P, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0);
	char *q = mmap(0, 8 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE, f, 0);
	SAY("mapped", "%c%c%c, private %c%c", m[0], m[P], m[4 * P], q[0], q[P]);
	PRINT(fallocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, P, P));
	SAY("mapped, a hole in it", "%c%d%c, private %c%d", m[0], m[P], m[4 * P], q[0], q[P]);
	m[P] = 'X';
	char b[2] = "";
	pread(f, b, 1, P);
	SAY("written in the hole", "%s", b);
	PRINT(fallocate(f, FALLOC_FL_ZERO_RANGE, 4 * P, P));
	SAY("mapped, zeros in it", "%c%c%d", m[0], m[P], m[4 * P]);
}

static void limit(void) {
	struct rlimit l = {16 * P, 16 * P};
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &l);
	int f = fill();
	PRINT(fallocate(f, 0, 0, 16 * P));
	PRINT(fallocate(f, 0, 0, 17 * P));
	PRINT(fallocate(f, FALLOC_FL_KEEP_SIZE, 0, 17 * P));
	PRINT(fallocate(f, FALLOC_FL_ZERO_RANGE, 0, 17 * P));
	PRINT(fallocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 17 * P));
	show("limited", f);
}

static void privileges(void) {
	int f = fill();
	fchown(f, 1000, 1000);
	fchmod(f, 06755);
	if (fork() == 0) {
		setgid(1000);
		setuid(1000);
		int g = open("file", O_RDWR);
		PRINT(fallocate(g, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, P));
		struct stat st;
		fstat(g, &st);
		SAY("mode after a hole", "%o", st.st_mode);
		_exit(0);
	}
	wait(0);
	close(f);
}

int main(void) {
	ranges();
	checks();
	mapped();
	privileges();
	limit();
	return 0;
}
