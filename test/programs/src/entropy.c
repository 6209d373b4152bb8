// entropy says whether random bytes are random: not all zero.

#include <stdio.h>
#include <sys/random.h>

int main(void)
{
	unsigned char bytes[5000] = {0};
	unsigned seen = 0;
	ssize_t n = getrandom(bytes, sizeof bytes, 0);

	for (ssize_t i = 0; i < n; i++)
		seen |= bytes[i];
	printf("%zd bytes, %s\n", n, seen ? "random" : "zero");
	return 0;
}
