// What a read or a receive does with a buffer whose tail is not mapped, for
// everything that can be read from; and msg_flags of recvmsg.
#include "print.h"
#include <netinet/in.h>
#include <sys/un.h>
#include <sys/eventfd.h>
#include <sys/uio.h>

static char *page; // of 4096 bytes; what follows is not mapped

// calls are the ways to read n bytes at p.
static long by_read(int fd, char *p, long n) { return read(fd, p, n); }
static long by_recv(int fd, char *p, long n) { return recv(fd, p, n, MSG_DONTWAIT); }
static long by_readv(int fd, char *p, long n) {
	struct iovec v[] = {{p, 2}, {p + 2, n - 2}};
	return readv(fd, v, 2);
}
static long by_recvmsg(int fd, char *p, long n) {
	struct iovec v = {p, n};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
	return recvmsg(fd, &m, MSG_DONTWAIT);
}
static long by_recvmmsg(int fd, char *p, long n) {
	struct iovec v = {p, n};
	struct mmsghdr m = {.msg_hdr = {.msg_iov = &v, .msg_iovlen = 1}};
	int r = recvmmsg(fd, &m, 1, MSG_DONTWAIT, 0);
	return r == 1 ? (long)m.msg_len : r;
}
static long by_peek(int fd, char *p, long n) { return recv(fd, p, n, MSG_DONTWAIT | MSG_PEEK); }

static const struct { const char *name; long (*get)(int, char *, long); int socket; } calls[] = {
	{"read", by_read, 0}, {"readv", by_readv, 0}, {"recv", by_recv, 1}, {"recvmsg", by_recvmsg, 1}, {"recvmmsg", by_recvmmsg, 1}, {"peek", by_peek, 1}};

static void tails(const char *kind, void (*make)(int s[2]), int is_socket) {
	for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++) {
		if (calls[i].socket && !is_socket)
			continue;
		int s[2];
		char what[200];
		make(s);
		write(s[0], "hello", 5);
		fcntl(s[1], F_SETFL, O_NONBLOCK);
		snprintf(what, sizeof what, "%s, %s, tail not mapped", kind, calls[i].name);
		poll(&(struct pollfd){s[1], POLLIN, 0}, 1, 5000);
		errno = 0;
		result(what, calls[i].get(s[1], page + 4000, 4000));
		snprintf(what, sizeof what, "%s, %s, then", kind, calls[i].name);
		errno = 0;
		result(what, read(s[1], page, 4));
		snprintf(what, sizeof what, "%s, %s, nothing mapped", kind, calls[i].name);
		write(s[0], "hello", 5);
		poll(&(struct pollfd){s[1], POLLIN, 0}, 1, 5000);
		errno = 0;
		result(what, calls[i].get(s[1], page + 4096, 5));
		close(s[0]);
		close(s[1]);
	}
}

static void unix_stream(int s[2]) { socketpair(AF_UNIX, SOCK_STREAM, 0, s); }
static void unix_dgram(int s[2]) { socketpair(AF_UNIX, SOCK_DGRAM, 0, s); }
static void unix_seqpacket(int s[2]) { socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s); }
static void a_pipe(int s[2]) {
	pipe(s);
	int reader = s[0];
	s[0] = s[1];
	s[1] = reader;
}
static void accepted(int s[2]) {
	struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "recv.socket"};
	unlink(a.sun_path);
	int l = socket(AF_UNIX, SOCK_STREAM, 0);
	bind(l, (void *)&a, sizeof a);
	listen(l, 1);
	s[0] = socket(AF_UNIX, SOCK_STREAM, 0);
	connect(s[0], (void *)&a, sizeof a);
	s[1] = accept(l, 0, 0);
	close(l);
}
static void inet(int type, int s[2]) {
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof a;
	int l = socket(AF_INET, type, 0);
	bind(l, (void *)&a, sizeof a);
	listen(l, 1);
	getsockname(l, (void *)&a, &size);
	s[0] = socket(AF_INET, type, 0);
	connect(s[0], (void *)&a, sizeof a);
	s[1] = l;
	if (type == SOCK_STREAM) {
		s[1] = accept(l, 0, 0);
		close(l);
	}
}
static void udp(int s[2]) { inet(SOCK_DGRAM, s); }
static void tcp(int s[2]) { inet(SOCK_STREAM, s); }

// long_message is longer than what is mapped.
static void long_message(const char *kind, void (*make)(int s[2])) {
	int s[2];
	char what[200], message[200] = "";
	make(s);
	write(s[0], message, sizeof message);
	snprintf(what, sizeof what, "%s, a message longer than what is mapped", kind);
	errno = 0;
	result(what, recv(s[1], page + 4000, 4000, 0));
	close(s[0]);
	close(s[1]);
}

static void message_flags(void) {
	int s[2];
	char byte, control[256];
	struct iovec v = {&byte, 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	socketpair(AF_UNIX, SOCK_STREAM, 0, s);
	write(s[0], "xxxx", 4);
	recvmsg(s[1], &m, MSG_CMSG_CLOEXEC);
	SAY("stream, MSG_CMSG_CLOEXEC", "%#x", m.msg_flags);
	recvmsg(s[1], &m, 0);
	SAY("stream, no flags", "%#x", m.msg_flags);
	m.msg_controllen = 0;
	recvmsg(s[1], &m, MSG_CMSG_CLOEXEC);
	SAY("stream, MSG_CMSG_CLOEXEC without control", "%#x", m.msg_flags);
	m.msg_controllen = sizeof control;
	struct mmsghdr mm = {.msg_hdr = m};
	recvmmsg(s[1], &mm, 1, MSG_CMSG_CLOEXEC, 0);
	SAY("stream, recvmmsg", "%#x", mm.msg_hdr.msg_flags);
	socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s);
	write(s[0], "xxxx", 4);
	recvmsg(s[1], &m, MSG_CMSG_CLOEXEC);
	SAY("seqpacket, longer message", "%#x", m.msg_flags);
	union { char space[CMSG_SPACE(2 * sizeof(int))]; struct cmsghdr h; } rights = {.h = {CMSG_LEN(2 * sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
	memcpy(CMSG_DATA(&rights.h), s, sizeof s);
	static const int lengths[] = {0, 8, CMSG_LEN(0), CMSG_LEN(4), CMSG_LEN(8), CMSG_SPACE(8), 256};
	for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		char what[100];
		struct msghdr out = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &rights, .msg_controllen = sizeof rights};
		sendmsg(s[0], &out, 0);
		m.msg_controllen = lengths[i];
		recvmsg(s[1], &m, MSG_CMSG_CLOEXEC);
		snprintf(what, sizeof what, "two descriptors into %d bytes", lengths[i]);
		SAY(what, "%#x, %zu", m.msg_flags, m.msg_controllen);
	}
}

static void cut_control(int family, const char *name) {
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr *a = family == AF_INET ? (void *)&a4 : (void *)&a6;
	socklen_t size = family == AF_INET ? sizeof a4 : sizeof a6;
	int u = socket(family, SOCK_DGRAM, 0), on = 1;
	bind(u, a, size);
	getsockname(u, a, &size);
	if (family == AF_INET)
		setsockopt(u, IPPROTO_IP, IP_RECVTTL, &on, sizeof on);
	else
		setsockopt(u, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &on, sizeof on);
	static const int lengths[] = {0, 8, 15, CMSG_LEN(0), CMSG_LEN(2), CMSG_LEN(4), CMSG_SPACE(4), 256};
	char byte, control[256];
	struct iovec v = {&byte, 1};
	for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		char what[100];
		struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = lengths[i]};
		sendto(u, "x", 1, 0, a, size);
		recvmsg(u, &m, 0);
		snprintf(what, sizeof what, "%s, hop limit into %d bytes", name, lengths[i]);
		SAY(what, "%#x, %zu", m.msg_flags, m.msg_controllen);
	}
	close(u);
}

static void credentials(void) {
	int s[2], on = 1;
	char byte, control[256];
	struct iovec v = {&byte, 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	socketpair(AF_UNIX, SOCK_DGRAM, 0, s);
	PRINT(setsockopt(s[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
	write(s[0], "x", 1);
	PRINT(recvmsg(s[1], &m, 0));
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	struct ucred *u = c ? (void *)CMSG_DATA(c) : 0;
	SAY("credentials", "type %d, own pid %d, uid %d, flags %#x", c ? c->cmsg_type : -1, u && u->pid == getpid(), u ? (int)u->uid : -1, m.msg_flags);
	struct ucred peer;
	socklen_t size = sizeof peer;
	PRINT(getsockopt(s[1], SOL_SOCKET, SO_PEERCRED, &peer, &size));
	SAY("peer", "own pid %d, uid %d", peer.pid == getpid(), (int)peer.uid);
}

int main(void) {
	signal(SIGPIPE, SIG_IGN);
	page = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(page + 4096, 4096);
	tails("unix stream", unix_stream, 1);
	tails("unix datagram", unix_dgram, 1);
	tails("unix seqpacket", unix_seqpacket, 1);
	tails("unix accepted", accepted, 1);
	tails("pipe", a_pipe, 0);
	tails("tcp", tcp, 1);
	tails("udp", udp, 1);
	long_message("unix datagram", unix_dgram);
	long_message("unix seqpacket", unix_seqpacket);
	long_message("udp", udp);
	message_flags();
	cut_control(AF_INET, "inet");
	cut_control(AF_INET6, "inet6");
	credentials();
	return 0;
}
