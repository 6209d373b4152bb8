// Two processes keep numbers in floating point registers while the other runs.
#include <math.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static int sum(double from) {
	long double x87 = from;
	double sse = from;
	for (int i = 0; i < 20000; i++) {
		x87 += 0.5L;
		sse += 0.5;
		if (i % 1000 == 0)
			usleep(1);
	}
	return x87 == (long double)from + 10000 && sse == from + 10000;
}

int main(void) {
	int child = fork(), status;
	int good = sum(child ? 1 : 1e6);
	if (child == 0)
		_exit(!good);
	waitpid(child, &status, 0);
	good = good && status == 0;
	printf("float: %s\n", good ? "ok" : "wrong");
	return !good;
}
