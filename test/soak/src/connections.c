// Short connections: of the loopback, in four kinds in turn, and from outside.

#include <arpa/inet.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include "soak.h"

enum { SERVED = 7000 }; // the port for connections from outside

// A few listening sockets, so that ports in TIME_WAIT do not run out.
enum { LISTENERS = 16 };
static int listeners[LISTENERS];
static struct sockaddr_in addresses[LISTENERS];
static int raw;

static int listener(struct sockaddr_in *a, unsigned address, unsigned short port)
{
	*a = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(address), .sin_port = htons(port)};
	socklen_t size = sizeof *a;
	int s = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(s >= 0);
	CHECK(setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) == 0);
	CHECK(bind(s, (void *)a, sizeof *a) == 0);
	CHECK(getsockname(s, (void *)a, &size) == 0);
	CHECK(listen(s, 128) == 0);
	return s;
}

static void open_listeners(void)
{
	for (int i = 0; i < LISTENERS; i++)
		listeners[i] = listener(&addresses[i], INADDR_LOOPBACK, 0);
	raw = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
	CHECK(raw >= 0);
}

static unsigned short checksum(const void *data, int size)
{
	unsigned sum = 0;
	for (const unsigned short *p = data; size > 1; size -= 2)
		sum += *p++;
	sum = (sum >> 16) + (sum & 0xffff);
	return ~(sum + (sum >> 16));
}

// half_open sends the first segment of a connection, and no other.
static void half_open(long n, const struct sockaddr_in *to)
{
	struct {
		struct {
			unsigned from, to;
			unsigned char zero, protocol;
			unsigned short size;
		} pseudo;
		struct tcphdr tcp;
	} summed = {
		{htonl(0x7f010000 + (n >> 15 & 0xffff)), to->sin_addr.s_addr, 0, IPPROTO_TCP, htons(sizeof(struct tcphdr))},
		{.source = htons(1024 + (n & 0x7fff)), .dest = to->sin_port, .seq = htonl(n), .doff = 5, .syn = 1, .window = htons(1000)},
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
	CHECK(sendto(raw, &packet, sizeof packet, 0, (const void *)to, sizeof *to) == sizeof packet);
}

// connect_once makes a connection that carries a line each way, and ends in one of four
// ways.
static void connect_once(long n)
{
	int i = n / 4 % LISTENERS;
	if (n % 4 == 3) {
		half_open(n, &addresses[i]);
		return;
	}
	int client = socket(AF_INET, SOCK_STREAM, 0);
	CHECK(client >= 0);
	CHECK(connect(client, (void *)&addresses[i], sizeof addresses[i]) == 0);
	int server = accept(listeners[i], NULL, NULL);
	CHECK(server >= 0);
	char line[6];
	CHECK(write(client, "hello\n", 6) == 6 && recv(server, line, 6, MSG_WAITALL) == 6);
	CHECK(write(server, "world\n", 6) == 6 && recv(client, line, 6, MSG_WAITALL) == 6);
	CHECK(memcmp(line, "world\n", 6) == 0);
	int first = n % 4 == 1 ? server : client;
	if (n % 4 == 2) {
		struct linger reset = {1, 0};
		CHECK(setsockopt(first, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) == 0);
	}
	CHECK(close(first) == 0);
	CHECK(close(first == client ? server : client) == 0);
}

const struct work connections = {"connections", open_listeners, connect_once, 1};

void serve(void)
{
	struct sockaddr_in a;
	int l = listener(&a, INADDR_ANY, SERVED);
	// The client may be gone before it is served, in any of its ways.
	signal(SIGPIPE, SIG_IGN);
	for (;;) {
		int c = accept(l, NULL, NULL);
		if (c < 0) {
			CHECK(errno == ECONNABORTED);
			continue;
		}
		char line[6];
		ssize_t n = recv(c, line, sizeof line, MSG_WAITALL);
		if (n == sizeof line && write(c, line, n) == n && line[0] == 'c')
			while (recv(c, line, sizeof line, 0) > 0) // the client closes first
				;
		close(c);
	}
}
