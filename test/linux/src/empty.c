// Messages without data: who sends them, who gets them, and what they carry; and
// what FIONREAD says of unix sockets.
#include "print.h"
#include <netinet/in.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <sys/un.h>

// senders are the ways to send nothing.
static long by_write(int s) { return write(s, "", 0); }
static long by_writev(int s) { return writev(s, &(struct iovec){"", 0}, 1); }
static long by_send(int s) { return send(s, "", 0, MSG_NOSIGNAL); }
static long by_send_null(int s) { return send(s, 0, 0, MSG_NOSIGNAL); }
static long by_sendmsg(int s) {
	struct iovec v[2] = {{"", 0}, {0, 0}};
	return sendmsg(s, &(struct msghdr){.msg_iov = v, .msg_iovlen = 2}, MSG_NOSIGNAL);
}
static long by_sendmsg_no_vector(int s) { return sendmsg(s, &(struct msghdr){0}, MSG_NOSIGNAL); }
static long by_sendmmsg(int s) { return sendmmsg(s, (struct mmsghdr[2]){0}, 2, MSG_NOSIGNAL); }
static long rights(int s, int fd) {
	union { char space[CMSG_SPACE(sizeof(int))]; struct cmsghdr h; } c = {.h = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
	*(int *)CMSG_DATA(&c.h) = fd;
	return sendmsg(s, &(struct msghdr){.msg_control = &c, .msg_controllen = sizeof c}, MSG_NOSIGNAL);
}
static long by_rights(int s) { return rights(s, 1); }
static long by_credentials(int s) {
	union { char space[CMSG_SPACE(sizeof(struct ucred))]; struct cmsghdr h; } c = {
		.h = {CMSG_LEN(sizeof(struct ucred)), SOL_SOCKET, SCM_CREDENTIALS}};
	*(struct ucred *)CMSG_DATA(&c.h) = (struct ucred){getpid(), getuid(), getgid()};
	return sendmsg(s, &(struct msghdr){.msg_control = &c, .msg_controllen = sizeof c}, MSG_NOSIGNAL);
}

static const struct { const char *name; long (*send)(int); } senders[] = {
	{"write", by_write}, {"writev", by_writev}, {"send", by_send}, {"send of NULL", by_send_null}, {"sendmsg", by_sendmsg},
	{"sendmsg without a vector", by_sendmsg_no_vector}, {"sendmmsg of two", by_sendmmsg}, {"sendmsg of rights", by_rights},
	{"sendmsg of credentials", by_credentials}};

// received prints what four receives get.
static void received(const char *what, int s) {
	for (int i = 0; i < 4; i++) {
		char byte[8], control[128];
		struct iovec v = {byte, i == 0 ? 0 : sizeof byte};
		struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
		int waiting = -1;
		struct pollfd p = {s, POLLIN, 0};
		poll(&p, 1, 0);
		ioctl(s, FIONREAD, &waiting);
		long n = recvmsg(s, &m, MSG_DONTWAIT);
		if (n < 0) {
			SAY(what, "poll %#x, FIONREAD %d, %s", p.revents, waiting, strerrorname_np(errno));
			continue;
		}
		struct cmsghdr *c = CMSG_FIRSTHDR(&m);
		SAY(what, "poll %#x, FIONREAD %d, %ld bytes, flags %#x, control %d", p.revents, waiting, n, m.msg_flags, c ? c->cmsg_type : 0);
		if (c && c->cmsg_type == SCM_RIGHTS)
			close(*(int *)CMSG_DATA(c));
	}
}

static void pair(const char *kind, int type) {
	char what[200];
	for (unsigned i = 0; i < sizeof senders / sizeof *senders; i++) {
		int s[2], one = 1;
		socketpair(AF_UNIX, type, 0, s);
		setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof one);
		snprintf(what, sizeof what, "%s, %s", kind, senders[i].name);
		errno = 0;
		result(what, senders[i].send(s[0]));
		write(s[0], "data", 4);
		snprintf(what, sizeof what, "%s, %s, received", kind, senders[i].name);
		received(what, s[1]);
		shutdown(s[0], SHUT_WR);
		snprintf(what, sizeof what, "%s, %s, after shutdown", kind, senders[i].name);
		errno = 0;
		result(what, senders[i].send(s[0]));
		close(s[1]);
		snprintf(what, sizeof what, "%s, %s, the other closed", kind, senders[i].name);
		errno = 0;
		result(what, senders[i].send(s[0]));
		close(s[0]);
		int lone = socket(AF_UNIX, type, 0);
		snprintf(what, sizeof what, "%s, %s, not connected", kind, senders[i].name);
		errno = 0;
		result(what, senders[i].send(lone));
		close(lone);
	}
}

// to_name sends to a socket that has a name, by a socket that is not connected.
static void to_name(void) {
	struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "\0empty"};
	socklen_t size = offsetof(struct sockaddr_un, sun_path) + 6;
	int in = socket(AF_UNIX, SOCK_DGRAM, 0), out = socket(AF_UNIX, SOCK_DGRAM, 0), one = 1;
	bind(in, (void *)&a, size);
	PRINT(sendto(out, "", 0, 0, (void *)&a, size));
	received("to a name", in);
	setsockopt(in, SOL_SOCKET, SO_PASSCRED, &one, sizeof one);
	PRINT(sendto(out, "", 0, 0, (void *)&a, size));
	received("to a name, SO_PASSCRED", in);
	a.sun_path[1] = 'x';
	PRINT(sendto(out, "", 0, 0, (void *)&a, size));
	close(in);
	close(out);
}

// full sends empty messages to a socket that nobody reads: something ends that.
static void full(void) {
	int s[2], n = 0;
	socketpair(AF_UNIX, SOCK_DGRAM, 0, s);
	while (n < 100000 && send(s[0], "", 0, MSG_DONTWAIT) == 0)
		n++;
	SAY("unread empty messages have a bound", "%d", n < 100000);
	close(s[0]);
	close(s[1]);
}

// waiting prints FIONREAD of sockets that have no peer, and of two messages.
static void waiting(const char *kind, int type) {
	char what[100];
	int n = -1, one = socket(AF_UNIX, type, 0), s[2];
	struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "\0emptywaiting"};
	snprintf(what, sizeof what, "%s, FIONREAD of one without a peer", kind);
	errno = 0;
	result(what, ioctl(one, FIONREAD, &n) ? -1 : n);
	bind(one, (void *)&a, offsetof(struct sockaddr_un, sun_path) + 13);
	listen(one, 1);
	snprintf(what, sizeof what, "%s, FIONREAD of one that listens", kind);
	errno = 0;
	result(what, ioctl(one, FIONREAD, &n) ? -1 : n);
	socketpair(AF_UNIX, type, 0, s);
	write(s[0], "1", 1);
	write(s[0], "22", 2);
	snprintf(what, sizeof what, "%s, FIONREAD of two messages", kind);
	errno = 0;
	result(what, ioctl(s[1], FIONREAD, &n) ? -1 : n);
	snprintf(what, sizeof what, "%s, FIONREAD to nowhere", kind);
	errno = 0;
	result(what, ioctl(s[1], FIONREAD, 0));
	close(one);
	close(s[0]);
	close(s[1]);
}

// looked_at: FIONREAD does not keep the files in a message.
static void looked_at(int type) {
	int p[2], s[2], n;
	char c;
	pipe2(p, O_NONBLOCK);
	socketpair(AF_UNIX, type, 0, s);
	PRINT(rights(s[0], p[1]));
	PRINT(ioctl(s[1], FIONREAD, &n));
	close(p[1]);
	PRINT(read(p[0], &c, 1));
	PRINT(read(s[1], &c, 1));
	PRINT(read(p[0], &c, 1));
	close(p[0]);
	close(s[0]);
	close(s[1]);
}

static void udp(void) {
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof a;
	int in = socket(AF_INET, SOCK_DGRAM, 0), out = socket(AF_INET, SOCK_DGRAM, 0);
	bind(in, (void *)&a, size);
	getsockname(in, (void *)&a, &size);
	connect(out, (void *)&a, size);
	PRINT(send(out, "", 0, 0));
	poll(&(struct pollfd){in, POLLIN, 0}, 1, 5000);
	received("udp, send", in);
	PRINT(write(out, "", 0));
	poll(&(struct pollfd){in, POLLIN, 0}, 1, 5000);
	received("udp, write", in);
}

int main(void) {
	signal(SIGPIPE, SIG_IGN);
	pair("dgram", SOCK_DGRAM);
	pair("seqpacket", SOCK_SEQPACKET);
	pair("stream", SOCK_STREAM);
	waiting("dgram", SOCK_DGRAM);
	waiting("seqpacket", SOCK_SEQPACKET);
	waiting("stream", SOCK_STREAM);
	looked_at(SOCK_DGRAM);
	looked_at(SOCK_SEQPACKET);
	to_name();
	full();
	udp();
}
