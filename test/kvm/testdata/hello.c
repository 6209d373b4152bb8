#include <stdio.h>

int main(void) {
	printf("hello, KVM\n");
	return 0;
}
