// hello prints its line and proves that argv, the environment and the exit
// status pass through: "hello NAME" greets NAME, "hello -s N" exits with N.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
	const char *name = "kiln";

	if (argc == 3 && strcmp(argv[1], "-s") == 0)
		return atoi(argv[2]);
	if (getenv("HELLO_NAME"))
		name = getenv("HELLO_NAME");
	if (argc > 1)
		name = argv[1];
	printf("hello, %s\n", name);
	return 0;
}
