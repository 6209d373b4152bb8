// sendfile sends a file of 1 MB through a TCP connection as a web server does, to
// a socket that does not block and takes a part, under TCP_CORK: by sendfile(2), and by read and
// write. It checks what arrives, prints how long the fastest of several turns of
// each took, and fails if sendfile's is SLOW times the other.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 1 << 20, BUFFER = 32 << 10, TURNS = 12, SLOW = 2 };

static int listener, file;
static char content[SIZE], got[SIZE + 1];

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

// wait_writable waits until fd takes something.
static void wait_writable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};

	if (errno != EAGAIN || poll(&p, 1, -1) != 1)
		fail("send");
}

static void by_sendfile(int fd)
{
	off_t at = 0;

	while (at < SIZE) {
		off_t before = at;
		ssize_t n = sendfile(fd, file, &at, SIZE - at);
		if (n < 0)
			wait_writable(fd);
		else if (at != before + n) {
			printf("sendfile returned %zd and moved the offset by %ld\n", n, (long)(at - before));
			exit(1);
		}
	}
}

static void by_write(int fd)
{
	static char buffer[32 << 10];

	for (off_t at = 0; at < SIZE;) {
		ssize_t n = pread(file, buffer, sizeof buffer, at);
		if (n <= 0)
			fail("pread");
		for (ssize_t done = 0; done < n;) {
			ssize_t m = write(fd, buffer + done, n - done);
			if (m < 0)
				wait_writable(fd);
			else
				done += m;
		}
		at += n;
	}
}

// receive is the client: it reads to the end.
static void *receive(void *arg)
{
	struct sockaddr_in to = *(struct sockaddr_in *)arg;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	size_t n = 0;
	ssize_t r;
	int size = BUFFER;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size) || connect(fd, (void *)&to, sizeof to))
		fail("connect");
	while ((r = read(fd, got + n, sizeof got - n)) > 0)
		n += r;
	close(fd);
	return (void *)n;
}

// serve sends the file to one client, and returns the time in µs.
static double serve(void (*send)(int), struct sockaddr_in *to)
{
	pthread_t client;
	void *n;
	int one = 1, size = BUFFER;
	double start = now();

	memset(got, 0, sizeof got);
	if (pthread_create(&client, NULL, receive, to))
		fail("pthread_create");
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_CORK, &one, sizeof one) ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size))
		fail("accept");
	send(fd);
	close(fd);
	pthread_join(client, &n);
	if ((size_t)n != SIZE || memcmp(got, content, SIZE)) {
		printf("%zu bytes arrived, or others than were sent\n", (size_t)n);
		exit(1);
	}
	return now() - start;
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof to;
	double best[2] = {1e12, 1e12};
	char name[4096];

	snprintf(name, sizeof name, "%s/sendfile.data", argc > 1 ? argv[1] : "/tmp");
	for (int i = 0; i < SIZE; i++)
		content[i] = i * 2654435761u >> 13;
	file = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (file < 0 || write(file, content, SIZE) != SIZE)
		fail(name);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	if (listener < 0 || bind(listener, (void *)&to, sizeof to) || listen(listener, 1) ||
	    getsockname(listener, (void *)&to, &length))
		fail("listen");
	for (int turn = 0; turn < TURNS; turn++) {
		double t[2] = {serve(by_sendfile, &to), serve(by_write, &to)};
		for (int i = 0; i < 2; i++)
			best[i] = t[i] < best[i] ? t[i] : best[i];
	}
	printf("%s: sendfile %.0f us, read and write %.0f us\n", name, best[0], best[1]);
	if (best[0] > SLOW * best[1])
		return 1;
	puts("sendfile: ok");
	return 0;
}
