#include <stdio.h>

int main(void)
{
	puts("hello, kiln");
	return 0;
}
