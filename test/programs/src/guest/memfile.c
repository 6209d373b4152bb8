// Writes to a memory file until it cannot, ARGV[1] KB at a time (4 MB).
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static char block[4 << 20];

int main(int argc, char **argv) {
	size_t size = argc > 1 ? (size_t)atoi(argv[1]) << 10 : sizeof block;
	int fd = memfd_create("x", 0);
	while (write(fd, block, size) > 0)
		;
	perror("write");
	return 0;
}
