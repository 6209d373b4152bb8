// Modes that make sockets, connections, and data that nobody reads.

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/un.h>
#include "mode.h"

static void pairs(int type, int filled)
{
	for (;; ++*made) {
		int s[2];
		if (socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, s) != 0)
			hold("socketpair");
		setsockopt(s[0], SOL_SOCKET, SO_SNDBUFFORCE, &(int){1 << 20}, sizeof(int));
		while (filled && send(s[0], block, 32 << 10, MSG_NOSIGNAL) > 0)
			;
	}
}

static void pairs_empty(void) { pairs(SOCK_STREAM, 0); }
static void pairs_stream(void) { pairs(SOCK_STREAM, 1); }
static void pairs_datagram(void) { pairs(SOCK_DGRAM, 1); }
static void pairs_packet(void) { pairs(SOCK_SEQPACKET, 1); }

// send_descriptor sends a descriptor over a socket.
static int send_descriptor(int over, int fd)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
	memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
	struct iovec v = {"x", 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	return sendmsg(over, &m, MSG_NOSIGNAL);
}

// in_flight puts each pair of sockets into the next and closes it: they are
// nobody's descriptors any more.
static void in_flight(void)
{
	int last[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, last) != 0)
		hold("socketpair");
	for (;; ++*made) {
		int next[2];
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, next) != 0)
			hold("socketpair");
		if (send_descriptor(next[0], last[0]) < 0 || send_descriptor(next[0], last[1]) < 0)
			hold("sendmsg");
		close(last[0]);
		close(last[1]);
		last[0] = next[0];
		last[1] = next[1];
	}
}

// files_in_flight has many descriptors wait in sockets.
static void files_in_flight(void)
{
	for (;;) {
		int s[2];
		if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, s) != 0)
			hold("socketpair");
		for (;; ++*made) {
			int fd = open("/dev/null", O_RDONLY);
			if (fd < 0)
				hold("open");
			int n = send_descriptor(s[0], fd);
			close(fd);
			if (n < 0 && errno == ETOOMANYREFS)
				hold("sendmsg");
			if (n < 0)
				break;
		}
	}
}

static void unix_listeners(void)
{
	for (;; ++*made) {
		struct sockaddr_un a = {.sun_family = AF_UNIX};
		int n = snprintf(a.sun_path + 1, sizeof a.sun_path - 1, "exhaust-%ld", *made);
		socklen_t size = offsetof(struct sockaddr_un, sun_path) + 1 + n;
		int s = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		if (s < 0)
			hold("socket");
		if (bind(s, (void *)&a, size) != 0 || listen(s, 64) != 0)
			hold("listen");
		for (int i = 0; i < 4; i++) { // nobody will accept these
			int c = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
			if (c < 0)
				hold("socket");
			connect(c, (void *)&a, size);
		}
	}
}

// listener returns a TCP socket of the loopback that listens, and its address.
static int listener(struct sockaddr_in *a, int backlog)
{
	*a = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof *a;
	int s = socket(AF_INET, SOCK_STREAM, 0);
	if (s < 0)
		hold("socket");
	if (bind(s, (void *)a, size) != 0 || listen(s, backlog) != 0)
		hold("listen");
	getsockname(s, (void *)a, &size);
	return s;
}

// connection makes a connection of the loopback.
static void connection(int listening, struct sockaddr_in *a, int *client, int *server)
{
	if ((*client = socket(AF_INET, SOCK_STREAM, 0)) < 0)
		hold("socket");
	if (connect(*client, (void *)a, sizeof *a) != 0)
		hold("connect");
	if ((*server = accept(listening, NULL, NULL)) < 0)
		hold("accept");
}

static void tcp_full(void)
{
	struct sockaddr_in a;
	int l = listener(&a, 128), client, server;
	for (;; ++*made) {
		connection(l, &a, &client, &server);
		setsockopt(client, SOL_SOCKET, SO_SNDBUF, &(int){4 << 20}, sizeof(int));
		setsockopt(server, SOL_SOCKET, SO_RCVBUF, &(int){4 << 20}, sizeof(int));
		while (send(client, block, 64 << 10, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
			;
	}
}

static void tcp_idle(void)
{
	struct sockaddr_in a;
	int l = listener(&a, 128), client, server;
	for (;; ++*made)
		connection(l, &a, &client, &server);
}

static void time_wait(void)
{
	struct sockaddr_in a;
	int l = listener(&a, 128), client, server;
	for (;; ++*made) {
		connection(l, &a, &client, &server);
		close(*made % 2 ? server : client);
		close(*made % 2 ? client : server);
	}
}

// orphans have unsent data that the other side never reads.
static void orphans(void)
{
	struct sockaddr_in a;
	int l = listener(&a, 128), client, server;
	for (;; ++*made) {
		connection(l, &a, &client, &server);
		while (send(client, block, 64 << 10, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
			;
		close(client);
	}
}

static void tcp_listeners(void)
{
	struct sockaddr_in a;
	for (;; ++*made)
		listener(&a, 4096);
}

// backlog makes connections that nobody accepts.
static void backlog(void)
{
	struct sockaddr_in a;
	for (;;) {
		listener(&a, 4096);
		for (int i = 0; i < 5000; i++, ++*made) {
			int c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
			if (c < 0)
				hold("socket");
			if (connect(c, (void *)&a, sizeof a) != 0 && errno != EINPROGRESS)
				hold("connect");
		}
	}
}

static unsigned short checksum(const void *data, int size)
{
	unsigned sum = 0;
	for (const unsigned short *p = data; size > 1; size -= 2)
		sum += *p++;
	sum = (sum >> 16) + (sum & 0xffff);
	return ~(sum + (sum >> 16));
}

// half_open sends first segments of connections, from addresses that never
// answer.
static void half_open(void)
{
	struct sockaddr_in a;
	listener(&a, 4096);
	int raw = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
	if (raw < 0)
		hold("socket");
	for (;; ++*made) {
		struct {
			struct {
				unsigned from, to;
				unsigned char zero, protocol;
				unsigned short size;
			} pseudo;
			struct tcphdr tcp;
		} summed = {
			{htonl(0x7f010000 + (*made >> 15)), a.sin_addr.s_addr, 0, IPPROTO_TCP, htons(sizeof(struct tcphdr))},
			{.source = htons(1024 + (*made & 0x7fff)), .dest = a.sin_port, .seq = htonl(*made), .doff = 5, .syn = 1, .window = htons(1000)},
		};
		summed.tcp.check = checksum(&summed, sizeof summed);
		struct {
			struct iphdr ip;
			struct tcphdr tcp;
		} packet = {
			{.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_TCP, .tot_len = htons(sizeof packet),
			 .saddr = summed.pseudo.from, .daddr = summed.pseudo.to},
			summed.tcp,
		};
		packet.ip.check = checksum(&packet.ip, sizeof packet.ip);
		if (sendto(raw, &packet, sizeof packet, 0, (void *)&a, sizeof a) < 0 && errno != ENOBUFS)
			hold("sendto");
	}
}

static void udp_full(void)
{
	for (;; ++*made) {
		struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		socklen_t size = sizeof a;
		int s = socket(AF_INET, SOCK_DGRAM, 0);
		if (s < 0)
			hold("socket");
		setsockopt(s, SOL_SOCKET, SO_RCVBUF, &(int){4 << 20}, sizeof(int));
		if (bind(s, (void *)&a, size) != 0)
			hold("bind");
		getsockname(s, (void *)&a, &size);
		for (int i = 0; i < 200; i++) // the kernel drops what does not fit
			if (sendto(s, block, 32 << 10, MSG_DONTWAIT, (void *)&a, size) < 0)
				break;
	}
}

static void udp_sockets(void)
{
	for (;; ++*made) {
		struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		int s = socket(AF_INET, SOCK_DGRAM, 0);
		if (s < 0)
			hold("socket");
		if (bind(s, (void *)&a, sizeof a) != 0)
			hold("bind");
	}
}

// netlink asks for lists that it does not read.
static void netlink(void)
{
	for (;; ++*made) {
		int s = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
		if (s < 0)
			hold("socket");
		for (int i = 0; i < 100; i++) {
			struct {
				struct nlmsghdr header;
				struct rtgenmsg body;
			} ask = {{sizeof ask, RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, i, 0}, {AF_UNSPEC}};
			if (send(s, &ask, sizeof ask, MSG_DONTWAIT) < 0)
				break;
		}
	}
}

// filters attaches programs of 4096 instructions to sockets.
static void filters(void)
{
	enum { LENGTH = 4096 };
	static struct sock_filter code[LENGTH];
	for (int i = 0; i < LENGTH; i++)
		code[i] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_IMM, i);
	code[LENGTH - 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 1);
	struct sock_fprog program = {LENGTH, code};
	for (;; ++*made) {
		int s = socket(AF_INET, SOCK_DGRAM, 0);
		if (s < 0)
			hold("socket");
		if (setsockopt(s, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0)
			hold("setsockopt");
	}
}

const struct mode socket_modes[] = {
	{"pairs-empty", pairs_empty},
	{"pairs-stream", pairs_stream},
	{"pairs-dgram", pairs_datagram},
	{"pairs-seqpacket", pairs_packet},
	{"in-flight", in_flight},
	{"files-in-flight", files_in_flight},
	{"unix-listeners", unix_listeners},
	{"tcp-full", tcp_full},
	{"tcp-idle", tcp_idle},
	{"time-wait", time_wait},
	{"orphans", orphans},
	{"tcp-listeners", tcp_listeners},
	{"backlog", backlog},
	{"half-open", half_open},
	{"udp-full", udp_full},
	{"udp-sockets", udp_sockets},
	{"netlink", netlink},
	{"socket-filters", filters},
	{0},
};
