// Forks with ARGV[1] MB written, and has the child write them again, so that
// each page is copied. Prints how the child ended.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv) {
	if (argc != 2)
		return 2;
	size_t size = (size_t)atoi(argv[1]) << 20;
	char *p = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int status;
	memset(p, 1, size);
	if (fork() == 0) {
		for (size_t i = 0; i < size; i += 4096)
			p[i] = 2;
		_exit(0);
	}
	wait(&status);
	for (size_t i = 0; i < size; i += 4096)
		if (p[i] != 1) {
			printf("page %zu of the parent's changed\n", i / 4096);
			return 1;
		}
	printf("child %#x, parent lives\n", status);
	return 0;
}
