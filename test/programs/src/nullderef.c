// nullderef writes to address 0 and must die of SIGSEGV.

#include <stdio.h>

int main(void)
{
	volatile int *volatile p = NULL;

	puts("nullderef: before");
	fflush(stdout);
	*p = 1;
	puts("nullderef: survived");
	return 0;
}
