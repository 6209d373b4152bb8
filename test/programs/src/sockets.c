// sockets checks TCP and UDP over loopback (IPv4 and IPv6), Unix sockets and
// passing descriptors.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "check.h"

enum { BULK = 2 << 20 };

union address {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static socklen_t loopback(union address *a, int family)
{
	memset(a, 0, sizeof *a);
	a->sa.sa_family = family;
	if (family == AF_INET) {
		a->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		return sizeof a->in;
	}
	a->in6.sin6_addr = in6addr_loopback;
	return sizeof a->in6;
}

// pattern is byte i of the bulk transfer.
static char pattern(int i) { return (char)(i * 31 + (i >> 12)); }

static void *bulk_sender(void *arg)
{
	int listener = *(int *)arg, fd = accept(listener, NULL, NULL), one = 1;
	char buf[8192];

	CHECK(fd >= 0 && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0);
	for (int i = 0; i < BULK; i += sizeof buf) {
		for (unsigned k = 0; k < sizeof buf; k++)
			buf[k] = pattern(i + k);
		for (size_t sent = 0; sent < sizeof buf;) {
			ssize_t n = send(fd, buf + sent, sizeof buf - sent, MSG_NOSIGNAL);
			CHECK(n > 0);
			sent += n;
		}
	}
	CHECK(shutdown(fd, SHUT_WR) == 0);
	CHECK(recv(fd, buf, 1, 0) == 1 && buf[0] == '.');
	CHECK(close(fd) == 0);
	return NULL;
}

static void tcp(int family)
{
	union address a;
	socklen_t len = loopback(&a, family);
	int l = socket(family, SOCK_STREAM, 0), c = socket(family, SOCK_STREAM, 0), got = 0;
	static char buf[65536];
	pthread_t t;

	CHECK(l >= 0 && c >= 0 && bind(l, &a.sa, len) == 0 && listen(l, 8) == 0);
	CHECK(getsockname(l, &a.sa, &len) == 0);
	CHECK(pthread_create(&t, NULL, bulk_sender, &l) == 0);
	CHECK(connect(c, &a.sa, len) == 0);
	for (;;) {
		ssize_t n = recv(c, buf, sizeof buf, 0);
		CHECK(n >= 0);
		if (n == 0)
			break;
		for (ssize_t k = 0; k < n; k++)
			CHECK(buf[k] == pattern(got + k));
		got += n;
	}
	CHECK(got == BULK && send(c, ".", 1, 0) == 1);
	CHECK(pthread_join(t, NULL) == 0 && close(c) == 0 && close(l) == 0);
	c = socket(family, SOCK_STREAM, 0);
	CHECK(connect(c, &a.sa, len) == -1 && errno == ECONNREFUSED && close(c) == 0);
}

static void udp(int family)
{
	union address a, from;
	socklen_t len = loopback(&a, family), from_len = sizeof from;
	int s = socket(family, SOCK_DGRAM, 0), c = socket(family, SOCK_DGRAM, 0);
	char buf[2000];

	CHECK(s >= 0 && c >= 0 && bind(s, &a.sa, len) == 0 && getsockname(s, &a.sa, &len) == 0);
	CHECK(sendto(c, "ping", 4, 0, &a.sa, len) == 4);
	CHECK(recvfrom(s, buf, sizeof buf, 0, &from.sa, &from_len) == 4 && memcmp(buf, "ping", 4) == 0);
	CHECK(sendto(s, "pong!", 5, 0, &from.sa, from_len) == 5 && recv(c, buf, sizeof buf, 0) == 5);
	struct timeval tv = { 0, 20000 };
	CHECK(setsockopt(c, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv) == 0);
	CHECK(recv(c, buf, sizeof buf, 0) == -1 && errno == EAGAIN);
	CHECK(close(s) == 0 && close(c) == 0);
}

static void unix_names(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "/tmp/sockets.sock" };
	int l = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM, 0), s;
	struct ucred cred;
	socklen_t len = sizeof cred;
	char buf[4];

	unlink(a.sun_path);
	CHECK(bind(l, (struct sockaddr *)&a, sizeof a) == 0 && listen(l, 1) == 0);
	CHECK(connect(c, (struct sockaddr *)&a, sizeof a) == 0 && (s = accept(l, NULL, NULL)) >= 0);
	CHECK(write(c, "abc", 3) == 3 && read(s, buf, 4) == 3);
	CHECK(getsockopt(s, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 && cred.pid == getpid());
	CHECK(close(l) == 0 && close(c) == 0 && close(s) == 0 && unlink(a.sun_path) == 0);
}

static void pass_descriptor(void)
{
	int s[2], p[2], got = -1;
	char c = 'd', control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec v = { &c, 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };

	CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s) == 0 && pipe(p) == 0);
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &p[1], sizeof(int));
	CHECK(sendmsg(s[0], &m, 0) == 1 && close(p[1]) == 0);
	memset(control, 0, sizeof control);
	CHECK(recvmsg(s[1], &m, 0) == 1 && CMSG_FIRSTHDR(&m)->cmsg_type == SCM_RIGHTS);
	memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
	CHECK(write(got, "through", 7) == 7);
	char buf[8];
	CHECK(read(p[0], buf, 8) == 7 && memcmp(buf, "through", 7) == 0);
}

int main(void)
{
	tcp(AF_INET);
	tcp(AF_INET6);
	udp(AF_INET);
	udp(AF_INET6);
	unix_names();
	pass_descriptor();
	puts("sockets: ok");
	return 0;
}
