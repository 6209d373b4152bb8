// SEEK_DATA and SEEK_HOLE.
#include "print.h"
#include <linux/falloc.h>

#define M (1L << 20)

static void seeks(const char *state, int f) {
	static const long at[] = {0, 1, 4095, 4096, M - 1, M, M + 4095, M + 4096, 2 * M, 3 * M - 1, 3 * M, 3 * M + 4096, 4 * M - 1, 4 * M, 5 * M, -1};
	char what[100];
	for (unsigned i = 0; i < sizeof at / sizeof *at; i++) {
		snprintf(what, sizeof what, "%s, SEEK_DATA from %ld", state, at[i]);
		errno = 0;
		result(what, lseek(f, at[i], SEEK_DATA));
		snprintf(what, sizeof what, "%s, SEEK_HOLE from %ld", state, at[i]);
		errno = 0;
		result(what, lseek(f, at[i], SEEK_HOLE));
	}
}

int main(void) {
	int f = open("file", O_RDWR | O_CREAT | O_TRUNC, 0644);
	seeks("empty", f);
	ftruncate(f, 4 * M);
	seeks("a hole", f);
	pwrite(f, "x", 1, M);
	seeks("a page", f);
	pwrite(f, "x", 1, 3 * M);
	seeks("two pages", f);
	PRINT(lseek(f, 10, SEEK_DATA));
	PRINT(lseek(f, 0, SEEK_CUR));
	PRINT(read(f, (char[2]){0}, 1));
	PRINT(lseek(f, 0, SEEK_CUR));
	PRINT(lseek(f, 5 * M, SEEK_DATA));
	PRINT(lseek(f, 0, SEEK_CUR));
	PRINT(lseek(f, 0, 5));
	PRINT(lseek(f, 0, -1));
	ftruncate(f, 3 * M + 10);
	seeks("cut", f);
	ftruncate(f, 0);
	write(f, "12345", 5);
	ftruncate(f, 5);
	seeks("small", f);
	int g = open("file", O_RDONLY | O_APPEND);
	PRINT(lseek(g, 0, SEEK_HOLE));
	PRINT(lseek(g, 0, SEEK_DATA));
	ftruncate(f, M);
	char *m = mmap(0, M, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0);
	m[M / 2] = 'x';
	PRINT(lseek(f, 8192, SEEK_DATA));
	int p[2], null = open("/dev/null", O_RDWR);
	pipe(p);
	PRINT(lseek(p[0], 0, SEEK_DATA));
	PRINT(lseek(null, 0, SEEK_DATA) >= 0);
	PRINT(lseek(99, 0, SEEK_DATA));
	PRINT(lseek(open(".", O_PATH), 0, SEEK_DATA));
	return 0;
}
