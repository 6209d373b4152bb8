// entropy says whether random bytes are random.

#include <stdio.h>
#include <sys/random.h>
int main(void) {
	unsigned char b[5000] = {0}; unsigned sum = 0;
	ssize_t n = getrandom(b, sizeof b, 0);
	for (int i = 0; i < n; i++) sum |= b[i];
	printf("%zd bytes, %s\n", n, sum ? "random" : "zero");
	return 0;
}
