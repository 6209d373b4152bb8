// Whose the port of a socket is that is bound to it before it connects: while it
// is connected, and after its end.
#include "print.h"
#include <netinet/in.h>
#include <sys/socket.h>

struct kind {
	const char *name;
	int family, type, v6only;
	const char *to; // address to connect to; "4" and "6" are the loopback, "m" is mapped
};

static const struct kind kinds[] = {
	{"tcp4", AF_INET, SOCK_STREAM, 0, "4"},
	{"tcp6", AF_INET6, SOCK_STREAM, 0, "6"},
	{"tcp6 only", AF_INET6, SOCK_STREAM, 1, "6"},
	{"tcp6 mapped", AF_INET6, SOCK_STREAM, 0, "m"},
	{"udp4", AF_INET, SOCK_DGRAM, 0, "4"},
	{"udp6", AF_INET6, SOCK_DGRAM, 0, "6"},
};

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static socklen_t address(union address *a, const char *at, int port) {
	memset(a, 0, sizeof *a);
	if (at[0] == '4' || at[0] == '0') {
		a->v4.sin_family = AF_INET;
		a->v4.sin_port = htons(port);
		a->v4.sin_addr.s_addr = at[0] == '4' ? htonl(INADDR_LOOPBACK) : 0;
		return sizeof a->v4;
	}
	a->v6.sin6_family = AF_INET6;
	a->v6.sin6_port = htons(port);
	if (at[0] == '6')
		a->v6.sin6_addr = in6addr_loopback;
	if (at[0] == 'm') {
		a->v6.sin6_addr.s6_addr[10] = a->v6.sin6_addr.s6_addr[11] = 0xff;
		a->v6.sin6_addr.s6_addr[12] = 127;
		a->v6.sin6_addr.s6_addr[15] = 1;
	}
	return sizeof a->v6;
}

static int port_of(int fd) {
	union address a;
	socklen_t size = sizeof a;
	getsockname(fd, &a.any, &size);
	return ntohs(a.any.sa_family == AF_INET ? a.v4.sin_port : a.v6.sin6_port);
}

// bound returns a socket bound to an address, or -1.
static int bound(const struct kind *k, const char *at, int port, int reuse) {
	int fd = socket(k->family, k->type, 0);
	if (k->family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &k->v6only, sizeof k->v6only);
	if (reuse)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse);
	union address a;
	socklen_t size = address(&a, at, port);
	if (bind(fd, &a.any, size) == 0)
		return fd;
	int e = errno;
	close(fd);
	errno = e;
	return -1;
}

// outcome prints whether a port can be bound to, within a second if it has to.
static void outcome(const struct kind *k, const char *what, const char *at, int port, int wait) {
	int fd;
	for (int i = 0; i < 100 && (fd = bound(k, at, port, 0)) < 0 && wait; i++)
		usleep(10000);
	printf("%s, %s, bind to %s = %s\n", k->name, what, at, fd < 0 ? strerrorname_np(errno) : "0");
	if (fd >= 0)
		close(fd);
}

// try_it binds to an address, connects and ends the connection as how says.
static void try_it(const struct kind *k, const char *at, int reuse, const char *how) {
	const char *any = k->family == AF_INET ? "0" : "-";
	int listener = bound(k, any, 0, 1);
	if (k->type == SOCK_STREAM && strcmp(how, "refused") != 0)
		listen(listener, 8);
	int c = bound(k, at, 0, reuse), port = port_of(c), s = -1;
	union address to;
	socklen_t size = address(&to, k->to, port_of(listener));
	if (strcmp(how, "non-blocking") == 0)
		fcntl(c, F_SETFL, O_NONBLOCK);
	int r = connect(c, &to.any, size);
	char what[200];
	snprintf(what, sizeof what, "from %s%s, %s, connect %s", at, reuse ? " reused" : "", how, r == 0 ? "0" : strerrorname_np(errno));
	if (k->type == SOCK_STREAM && strcmp(how, "refused") != 0) {
		s = accept(listener, 0, 0);
		outcome(k, what, any, port, 0);
		outcome(k, what, k->to, port, 0);
		close(s); // so that the client has no TIME-WAIT
		char b;
		fcntl(c, F_SETFL, 0);
		if (read(c, &b, 1) != 0)
			puts("no end of file");
	}
	close(c);
	outcome(k, what, any, port, 1);
	outcome(k, what, k->to, port, 1);
	close(listener);
}

int main(void) {
	for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		const struct kind *k = &kinds[i];
		const char *any = k->family == AF_INET ? "0" : "-";
		for (int reuse = 0; reuse < 2; reuse++) {
			try_it(k, any, reuse, "closed");
			try_it(k, k->to, reuse, "closed");
			try_it(k, any, reuse, "non-blocking");
			try_it(k, any, reuse, "refused");
		}
	}
	// None is lost in a thousand.
	const struct kind *k = &kinds[0];
	int lost = 0;
	for (int i = 0; i < 1000; i++) {
		int c = bound(k, "0", 0, 0), port = port_of(c);
		union address to;
		connect(c, &to.any, address(&to, "4", 1));
		close(c);
		if ((c = bound(k, "0", port, 0)) < 0)
			lost++;
		else
			close(c);
	}
	printf("ports lost of 1000 = %d\n", lost);
	return 0;
}
