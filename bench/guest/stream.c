/* Writes and reads its standard streams, for bench/console.go:
 *   stream out SIZE MB   writes that many MB in writes of SIZE bytes
 *   stream in            reads to the end and prints how many bytes came
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char buffer[1 << 16];

int main(int argc, char **argv) {
	if (argc == 4 && !strcmp(argv[1], "out")) {
		size_t size = atoi(argv[2]);
		long left = atol(argv[3]) * 1000000;
		memset(buffer, 'x', sizeof buffer);
		while (left > 0) {
			ssize_t n = write(1, buffer, left < (long)size ? (size_t)left : size);
			if (n <= 0)
				return 1;
			left -= n;
		}
		return 0;
	}
	if (argc == 2 && !strcmp(argv[1], "in")) {
		long all = 0;
		ssize_t n;
		while ((n = read(0, buffer, sizeof buffer)) > 0)
			all += n;
		printf("%ld\n", all);
		return n < 0;
	}
	return 2;
}
