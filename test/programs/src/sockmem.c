// Fills sockets that nobody reads: sockmem HOW N makes N connections to itself,
// or N sockets, and fills each as far as it can be filled. HOW is "streams",
// "pieces" (the same, 16 bytes a write) or "datagrams" (empty ones). Then it ends
// them and checks that another one works. Without arguments, 10 of each.
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"

enum { most = 4096 };

static int from[most], to[most];

static struct sockaddr_in loopback(void) {
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	return a;
}

// bound returns a socket of a type at a free port, whose address it stores.
static int bound(int type, struct sockaddr_in *a) {
	socklen_t size = sizeof *a;
	int fd = socket(AF_INET, type, 0);
	CHECK(fd >= 0);
	*a = loopback();
	CHECK(bind(fd, (void *)a, size) == 0);
	CHECK(getsockname(fd, (void *)a, &size) == 0);
	return fd;
}

// same reports whether two addresses are one.
static int same(const struct sockaddr_in *a, const struct sockaddr_in *b) {
	return a->sin_port == b->sin_port && a->sin_addr.s_addr == b->sin_addr.s_addr;
}

// connect_to makes a connection. It returns 0 if there is no memory for one.
static int connect_to(int listener, const struct sockaddr_in *a, int *client, int *server) {
	*client = socket(AF_INET, SOCK_STREAM, 0);
	if (*client < 0 && (errno == ENOBUFS || errno == ENOMEM))
		return 0;
	CHECK(*client >= 0);
	CHECK(connect(*client, (const void *)a, sizeof *a) == 0);
	struct sockaddr_in own, peer;
	socklen_t size = sizeof own;
	CHECK(getsockname(*client, (void *)&own, &size) == 0);
	// A connection that could not be accepted before waits still.
	while ((*server = accept(listener, (void *)&peer, &size)) >= 0 && !same(&own, &peer))
		close(*server);
	if (*server < 0 && (errno == ENOBUFS || errno == ENOMEM)) {
		close(*client);
		return 0;
	}
	CHECK(*server >= 0);
	return 1;
}

static void streams(int n, size_t piece) {
	static char data[1 << 16];
	struct sockaddr_in a;
	int listener = bound(SOCK_STREAM, &a);
	CHECK(listen(listener, 128) == 0);
	for (int i = 0; i < n; i++) {
		if (!connect_to(listener, &a, &from[i], &to[i])) {
			CHECK(i > 10);
			n = i;
			break;
		}
		CHECK(fcntl(from[i], F_SETFL, O_NONBLOCK) == 0);
		// A pause lets what is under way arrive.
		for (int pause = 0; pause < 2; pause++) {
			for (int k = 0; k < 5000 && write(from[i], data, piece) > 0; k++)
				;
			usleep(1000);
		}
	}
	for (int i = 0; i < n; i++) {
		close(from[i]);
		close(to[i]);
	}
	int client, server;
	int made = 0;
	for (int tries = 0; tries < 50 && !(made = connect_to(listener, &a, &client, &server)); tries++)
		usleep(100000);
	CHECK(made);
	CHECK(write(client, "x", 1) == 1);
	CHECK(read(server, data, 1) == 1 && data[0] == 'x');
	close(client);
	close(server);
	close(listener);
}

static void datagrams(int n) {
	int sender = socket(AF_INET, SOCK_DGRAM, 0);
	for (int i = 0; i < n; i++) {
		struct sockaddr_in a;
		to[i] = bound(SOCK_DGRAM, &a);
		for (int k = 0; k < 1000; k++)
			CHECK(sendto(sender, "", 0, 0, (void *)&a, sizeof a) == 0);
	}
	char c;
	CHECK(recv(to[0], &c, 1, 0) == 0);
	for (int i = 0; i < n; i++)
		close(to[i]);
	struct sockaddr_in a;
	int fd = bound(SOCK_DGRAM, &a);
	CHECK(sendto(sender, "x", 1, 0, (void *)&a, sizeof a) == 1);
	CHECK(recv(fd, &c, 1, 0) == 1 && c == 'x');
	close(fd);
	close(sender);
}

static void fill(const char *how, int n) {
	if (strcmp(how, "streams") == 0)
		streams(n, 1 << 16);
	else if (strcmp(how, "pieces") == 0)
		streams(n, 16);
	else
		datagrams(n);
}

int main(int argc, char **argv) {
	if (argc == 1) {
		fill("streams", 10);
		fill("pieces", 10);
		fill("datagrams", 10);
		puts("sockmem: ok");
		return 0;
	}
	CHECK(argc == 3 && atoi(argv[2]) <= most);
	fill(argv[1], atoi(argv[2]));
	printf("sockmem: %s ok\n", argv[1]);
	return 0;
}
