// What a TCP socket says of a connection that its peer reset, tcp(7): getpeername
// has no peer (inet_getname, net/ipv4/af_inet.c of Linux 6.1), what has arrived can
// be read before the error, the error is said once, then there is an end.
#include "print.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>

static int client, server;

static void pair_of(int family)
{
	struct sockaddr_storage a = {.ss_family = family};
	struct sockaddr_in6 *a6 = (void *)&a;
	struct sockaddr_in *a4 = (void *)&a;
	if (family == AF_INET)
		a4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		a6->sin6_addr = in6addr_loopback;
	socklen_t n = sizeof a;
	int listener = socket(family, SOCK_STREAM, 0);
	bind(listener, (void *)&a, n);
	listen(listener, 1);
	getsockname(listener, (void *)&a, &n);
	client = socket(family, SOCK_STREAM, 0);
	connect(client, (void *)&a, n);
	server = accept(listener, NULL, NULL);
	close(listener);
}

static void reset_by_client(void)
{
	struct linger l = {1, 0};
	setsockopt(client, SOL_SOCKET, SO_LINGER, &l, sizeof l);
	close(client);
}

// await returns when the reset is there.
static void await(void)
{
	struct pollfd p = {server, 0, 0};
	poll(&p, 1, 10000);
}

static int names(void)
{
	struct sockaddr_storage a;
	socklen_t n = sizeof a;
	return getpeername(server, (void *)&a, &n);
}

static int own_name(void)
{
	struct sockaddr_storage a;
	socklen_t n = sizeof a;
	return getsockname(server, (void *)&a, &n);
}

static int error(void)
{
	int e = -1;
	socklen_t n = sizeof e;
	getsockopt(server, SOL_SOCKET, SO_ERROR, &e, &n);
	return e;
}

static int state(void)
{
	struct tcp_info i = {0};
	socklen_t n = sizeof i;
	return getsockopt(server, IPPROTO_TCP, TCP_INFO, &i, &n) ? -1 : i.tcpi_state;
}

static int events(void)
{
	struct pollfd p = {server, POLLIN | POLLOUT | POLLRDHUP | POLLPRI, 0};
	poll(&p, 1, 0);
	return p.revents;
}

static int unread(void)
{
	int n = -1;
	return ioctl(server, FIONREAD, &n) ? -1 : n;
}

static void look(const char *what)
{
	char text[64], b[16];
#define ROW(call) (snprintf(text, sizeof text, "%s, %s", what, #call), errno = 0, result(text, call))
	ROW(events());
	ROW(names());
	ROW(own_name());
	ROW(state());
	ROW(unread());
	ROW(recv(server, b, 4, MSG_PEEK));
	ROW(recv(server, b, 4, 0));
	ROW(recv(server, b, sizeof b, MSG_DONTWAIT));
	ROW(recv(server, b, sizeof b, MSG_DONTWAIT));
	ROW(events());
	ROW(send(server, "x", 1, MSG_NOSIGNAL));
	ROW(error());
	ROW(shutdown(server, SHUT_RD));
	ROW(shutdown(server, SHUT_WR));
	ROW(names());
	close(server);
}

int main(void)
{
	for (int i = 0; i < 2; i++) {
		int family = i ? AF_INET6 : AF_INET;
		pair_of(family);
		send(client, "unread", 6, 0);
		reset_by_client();
		await();
		look("data, then a reset");

		pair_of(family);
		reset_by_client();
		await();
		result("a reset, error()", error());
		look("a reset");

		pair_of(family);
		reset_by_client();
		result("at once, names()", names());
		close(server);

		pair_of(family);
		send(client, "unread", 6, 0);
		shutdown(client, SHUT_WR);
		reset_by_client();
		await();
		look("data, end, reset");

		pair_of(family);
		send(server, "unread", 6, 0);
		char c;
		recv(client, &c, 1, 0);
		close(client);
		await();
		look("closed with data unread");
	}
}
