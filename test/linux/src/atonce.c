// What TCP sends to the machine itself is there when the call that sent it returns:
// nobody here waits.
#include "print.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>

static int listener, client, server;
static struct sockaddr_storage address;
static socklen_t length;

static void listening(int family) {
	memset(&address, 0, sizeof address);
	address.ss_family = family;
	length = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	if (family == AF_INET)
		((struct sockaddr_in *)&address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		((struct sockaddr_in6 *)&address)->sin6_addr = in6addr_loopback;
	listener = socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (bind(listener, (void *)&address, length) || listen(listener, 5) || getsockname(listener, (void *)&address, &length))
		exit(1);
	client = socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0);
}

static void connection(int family) {
	listening(family);
	connect(client, (void *)&address, length);
	server = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	close(listener);
	if (server < 0) {
		printf("no connection\n");
		exit(1);
	}
}

static void closed(void) {
	close(client);
	close(server);
}

static void reset(int s) {
	setsockopt(s, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
	close(s);
}

static int in(int fd) {
	struct pollfd p = {fd, POLLIN | POLLRDHUP, 0};
	poll(&p, 1, 0);
	return p.revents & (POLLIN | POLLRDHUP | POLLHUP | POLLERR);
}

static int out(int fd) {
	struct pollfd p = {fd, POLLOUT, 0};
	poll(&p, 1, 0);
	return p.revents;
}

static int selected(int fd) {
	fd_set s;
	FD_ZERO(&s);
	FD_SET(fd, &s);
	return select(fd + 1, &s, NULL, NULL, &(struct timeval){0, 0});
}

static int waiting(int fd) {
	int e = epoll_create1(0);
	struct epoll_event v = {.events = EPOLLIN};
	epoll_ctl(e, EPOLL_CTL_ADD, fd, &v);
	int n = epoll_wait(e, &v, 1, 0);
	close(e);
	return n;
}

static int unread(int fd) {
	int n = -1;
	ioctl(fd, FIONREAD, &n);
	return n;
}

static int unsent(int fd) {
	int n = -1;
	return ioctl(fd, TIOCOUTQ, &n) ? -1 : n;
}

static int marked(int fd) {
	int n = -1;
	return ioctl(fd, SIOCATMARK, &n) ? -1 : n;
}

static int option(int fd, int level, int name) {
	int n = -1;
	socklen_t l = sizeof n;
	getsockopt(fd, level, name, &n, &l);
	return level == IPPROTO_TCP ? n & 0xff : n;
}

static int peer(int fd) {
	struct sockaddr_storage a;
	socklen_t l = sizeof a;
	return getpeername(fd, (void *)&a, &l);
}

static char b[16];

// sent prints what each way to look says after a byte was sent.
static void sent(int family) {
	connection(family);
	write(client, "x", 1);
	PRINT(read(server, b, sizeof b));
	send(client, "x", 1, 0);
	PRINT(recv(server, b, sizeof b, 0));
	write(client, "x", 1);
	PRINT(recvmsg(server, &(struct msghdr){.msg_iov = &(struct iovec){b, 16}, .msg_iovlen = 1}, 0));
	write(client, "x", 1);
	PRINT(in(server));
	write(client, "x", 1);
	PRINT(unread(server));
	PRINT(unsent(client));
	PRINT(marked(server));
	PRINT(selected(server));
	read(server, b, sizeof b);
	write(client, "x", 1);
	PRINT(selected(server));
	read(server, b, sizeof b);
	write(client, "x", 1);
	PRINT(waiting(server));
	shutdown(client, SHUT_WR);
	PRINT(in(server));
	read(server, b, sizeof b);
	PRINT(read(server, b, sizeof b));
	close(server);
	PRINT(in(client));
	PRINT(read(client, b, sizeof b));
	close(client);
}

static void ends(int family) {
	connection(family);
	close(client);
	PRINT(read(server, b, sizeof b));
	close(server);
	connection(family);
	shutdown(client, SHUT_WR);
	PRINT(option(server, IPPROTO_TCP, TCP_INFO));
	closed();
	connection(family);
	reset(client);
	PRINT(peer(server));
	PRINT(in(server));
	PRINT(read(server, b, sizeof b));
	PRINT(read(server, b, sizeof b));
	close(server);
	connection(family);
	reset(client);
	PRINT(option(server, SOL_SOCKET, SO_ERROR));
	close(server);
	connection(family);
	write(client, "x", 1);
	reset(client);
	PRINT(peer(server));
	PRINT(read(server, b, sizeof b));
	PRINT(read(server, b, sizeof b));
	close(server);
}

static void begins(int family) {
	listening(family);
	PRINT(in(listener));
	PRINT(unsent(listener));
	PRINT(unsent(client));
	PRINT(connect(client, (void *)&address, length));
	PRINT(in(listener));
	PRINT(out(client));
	PRINT(option(client, SOL_SOCKET, SO_ERROR));
	PRINT(connect(client, (void *)&address, length));
	PRINT(peer(client));
	server = accept(listener, NULL, NULL);
	SAY("accepted", "%d", server >= 0);
	closed();
	close(listener);
	client = socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	PRINT(connect(client, (void *)&address, length)); // nobody listens
	PRINT(in(client));
	PRINT(option(client, SOL_SOCKET, SO_ERROR));
	close(client);
}

int main(void) {
	for (int i = 0; i < 8; i++) { // Go's scheduler has an exception in 61
		int family = i % 2 ? AF_INET6 : AF_INET;
		sent(family);
		ends(family);
		begins(family);
	}
}
