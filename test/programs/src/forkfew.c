// Forks with little memory touched here and there in large mappings, then parent
// and child write to it: each may take a few pages only for each that is written.
// forkfew N has N mappings of 2 MB with one page touched in each; without
// arguments, 4.
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

enum { size = 2 << 20, most = 1000 };

static char *map[most];

// write_all writes a byte to each mapping's touched page, which has what is there
// now.
static void write_all(int n, char is, char becomes) {
	for (int i = 0; i < n; i++) {
		CHECK(map[i][size / 2] == is);
		map[i][size / 2] = becomes;
	}
	for (int i = 0; i < n; i++)
		CHECK(map[i][size / 2] == becomes && map[i][0] == 0 && map[i][size - 1] == 0);
}

int main(int argc, char **argv) {
	int n = argc > 1 ? atoi(argv[1]) : 4;
	CHECK(n > 0 && n <= most);
	for (int i = 0; i < n; i++) {
		map[i] = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHECK(map[i] != MAP_FAILED);
		map[i][size / 2] = 'a';
	}
	int go[2];
	CHECK(pipe(go) == 0);
	pid_t child = fork();
	CHECK(child >= 0);
	if (child == 0) {
		char c;
		CHECK(read(go[0], &c, 1) == 1);
		write_all(n, 'a', 'c');
		_exit(0);
	}
	write_all(n, 'a', 'b');
	CHECK(write(go[1], "x", 1) == 1);
	int status;
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	puts("forkfew: ok");
	return 0;
}
