// sendfile(2) to sockets: how far it goes, and what it leaves the offsets at.
#include "print.h"
#include <sys/sendfile.h>

enum { SIZE = 1 << 20 };

static char content[SIZE], got[SIZE];
static int file, pair[2];

// drain is the reader of a socket that blocks.
static void *drain(void *arg) {
	long n = 0, r;
	while ((r = read(pair[1], got + n, sizeof got - n)) > 0)
		n += r;
	*(long *)arg = n;
	return NULL;
}

static void sockets(int flags) {
	if (socketpair(AF_UNIX, SOCK_STREAM | flags, 0, pair))
		exit(1);
}

static void blocking(void) {
	pthread_t t;
	long arrived = 0;
	off_t at = 1000;
	sockets(0);
	pthread_create(&t, NULL, drain, &arrived);
	PRINT(sendfile(pair[0], file, &at, 300000));
	SAY("offset", "%ld", (long)at);
	PRINT(sendfile(pair[0], file, &at, 2 * SIZE));
	SAY("offset at the end", "%ld", (long)at);
	PRINT(sendfile(pair[0], file, &at, SIZE));
	PRINT(lseek(file, 0, SEEK_CUR));
	shutdown(pair[0], SHUT_WR);
	pthread_join(t, NULL);
	SAY("arrived", "%ld, %s", arrived, memcmp(got, content + 1000, arrived) ? "other bytes" : "the file's");
	close(pair[0]);
	close(pair[1]);
}

// partly sends all to a socket that takes a part at a time, with the file's own
// offset or with one of the program's.
static void partly(const char *what, int own) {
	off_t at = 0;
	long sent = 0, arrived = 0, wrong = 0, full = 0;
	sockets(SOCK_NONBLOCK);
	lseek(file, 0, SEEK_SET);
	while (arrived < SIZE) {
		long n = sendfile(pair[0], file, own ? &at : NULL, SIZE - sent), r;
		if (n < 0 && errno != EAGAIN)
			exit(1);
		full += n < 0 || n < SIZE - sent;
		sent += n > 0 ? n : 0;
		wrong += (own ? at : lseek(file, 0, SEEK_CUR)) != sent;
		while ((r = read(pair[1], got + arrived, 12345)) > 0)
			arrived += r;
	}
	SAY(what, "%ld sent, offset wrong %ld times, %s, %s", sent, wrong, full ? "was full" : "never full",
	    memcmp(got, content, SIZE) ? "other bytes" : "the file's");
	close(pair[0]);
	close(pair[1]);
}

static void errors(void) {
	int closed[2];
	sockets(SOCK_NONBLOCK);
	lseek(file, 0, SEEK_SET);
	while (sendfile(pair[0], file, &(off_t){0}, SIZE) > 0)
		;
	SAY("full", "%s", strerrorname_np(errno));
	PRINT(sendfile(pair[0], file, NULL, SIZE));
	PRINT(lseek(file, 0, SEEK_CUR));
	PRINT(sendfile(pair[0], file, NULL, 0));
	PRINT(sendfile(pair[0], -1, NULL, SIZE));
	PRINT(sendfile(-1, file, NULL, SIZE));
	PRINT(sendfile(pair[0], pair[1], NULL, SIZE));
	PRINT(sendfile(pair[0], file, &(off_t){-1}, SIZE));
	PRINT(sendfile(pair[0], file, (void *)8, SIZE));
	signal(SIGPIPE, SIG_IGN);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, closed))
		exit(1);
	close(closed[1]);
	PRINT(sendfile(closed[0], file, NULL, SIZE));
}

int main(void) {
	for (int i = 0; i < SIZE; i++)
		content[i] = i * 2654435761u >> 13;
	file = open("file", O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (file < 0 || write(file, content, SIZE) != SIZE)
		return 1;
	lseek(file, 0, SEEK_SET);
	blocking();
	partly("the program's offset", 1);
	partly("the file's offset", 0);
	errors();
	unlink("file");
	return 0;
}
