// Makes many short connections: shortconn HOW N connects to itself N times over
// the loopback interface. HOW says who ends a connection: "client", "server",
// "both" at once, or "reset" (the client, by a reset). Without arguments, 100
// of each.
//
// shortconn serve HOW serves port 7000: it answers each byte by one, and ends
// the connection itself if HOW is "server", else when its peer has.
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"

static struct sockaddr_in address;
static socklen_t size = sizeof address;

static int listen_at(in_addr_t a, int port) {
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
	CHECK(fd >= 0);
	CHECK(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
	address.sin_family = AF_INET;
	address.sin_addr.s_addr = htonl(a);
	address.sin_port = htons(port);
	CHECK(bind(fd, (void *)&address, size) == 0);
	CHECK(getsockname(fd, (void *)&address, &size) == 0);
	CHECK(listen(fd, 128) == 0);
	return fd;
}

// ended waits until the peer has ended the connection.
static void ended(int fd) {
	char c;
	CHECK(read(fd, &c, 1) == 0);
}

static void serve(const char *how) {
	int listener = listen_at(INADDR_ANY, 7000);
	puts("shortconn: serving");
	fflush(stdout);
	for (;;) {
		int fd = accept(listener, 0, 0);
		CHECK(fd >= 0);
		char c;
		if (read(fd, &c, 1) == 1)
			CHECK(write(fd, &c, 1) == 1);
		if (strcmp(how, "server") != 0)
			while (read(fd, &c, 1) == 1)
				;
		close(fd);
	}
}

// connect_often makes n connections.
static void connect_often(const char *how, long n) {
	int listener = listen_at(INADDR_LOOPBACK, 0);
	for (; n > 0; n--) {
		int client = socket(AF_INET, SOCK_STREAM, 0);
		CHECK(client >= 0);
		CHECK(connect(client, (void *)&address, size) == 0);
		int server = accept(listener, 0, 0);
		CHECK(server >= 0);
		char c = 'x';
		CHECK(write(client, &c, 1) == 1);
		CHECK(read(server, &c, 1) == 1);
		if (strcmp(how, "client") == 0) {
			close(client);
			ended(server);
			client = -1;
		} else if (strcmp(how, "server") == 0) {
			close(server);
			ended(client);
			server = -1;
		} else if (strcmp(how, "reset") == 0) {
			struct linger l = {.l_onoff = 1};
			CHECK(setsockopt(client, SOL_SOCKET, SO_LINGER, &l, sizeof l) == 0);
		}
		if (client >= 0)
			close(client);
		if (server >= 0)
			close(server);
	}
	close(listener);
}

int main(int argc, char **argv) {
	if (argc == 1) {
		const char *all[] = {"client", "server", "both", "reset"};
		for (int i = 0; i < 4; i++)
			connect_often(all[i], 100);
		puts("shortconn: ok");
		return 0;
	}
	CHECK(argc == 3);
	if (strcmp(argv[1], "serve") == 0)
		serve(argv[2]);
	connect_often(argv[1], atol(argv[2]));
	printf("shortconn: %s ok\n", argv[1]);
	return 0;
}
