// When data of a TCP socket that waits for more is sent: TCP_CORK, MSG_MORE and
// Nagle's algorithm, and what ends the wait. Times are in three classes, and the
// least of a few tries, so that a busy machine changes nothing.
#include "print.h"
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

static int listener, s, r; // s sends, r reads

static double now(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static void connected(void) {
	struct sockaddr_in a = {.sin_family = AF_INET};
	socklen_t size = sizeof a;
	getsockname(listener, (void *)&a, &size);
	r = socket(AF_INET, SOCK_STREAM, 0);
	connect(r, (void *)&a, size);
	s = accept(listener, 0, 0);
}

static void set(int option, int value) { setsockopt(s, IPPROTO_TCP, option, &value, sizeof value); }

static int get(int option) {
	int value = -1;
	socklen_t size = sizeof value;
	getsockopt(s, IPPROTO_TCP, option, &value, &size);
	return value;
}

// arrival prints when r has n bytes, or with n 0 the end of file, after do_it.
static void arrival(const char *what, void (*do_it)(void), long n) {
	static char buffer[1 << 20];
	double least = 1e9;
	long total = 0;
	for (int i = 0; i < 3; i++) {
		connected();
		double began = now();
		do_it();
		long got;
		total = 0;
		while ((n == 0 || total < n) && (got = read(r, buffer, sizeof buffer)) > 0)
			total += got;
		double took = now() - began;
		if (took < least)
			least = took;
		close(r);
		close(s);
	}
	SAY(what, "%ld bytes %s", total, least < 120 ? "at once" : least < 1000 ? "after 200 ms" : "late");
}

static void corked(void) {
	set(TCP_CORK, 1);
	write(s, "hello", 5);
}
static void plain_close(void) { write(s, "hello", 5); close(s); }
static void corked_close(void) { corked(); close(s); }
static void corked_shutdown(void) { corked(); shutdown(s, SHUT_WR); }
static void corked_both(void) { corked(); shutdown(s, SHUT_RDWR); }
static void uncorked(void) { corked(); set(TCP_CORK, 0); }
static void pushed(void) { corked(); set(TCP_NODELAY, 1); }
static void again(void) { corked(); set(TCP_CORK, 0); corked(); close(s); }
static void after_push(void) { corked(); set(TCP_NODELAY, 1); write(s, "hello", 5); }
static void ceiling(void) { corked(); }
static void second_ceiling(void) { corked(); usleep(300000); write(s, "hello", 5); }
static void dup_close(void) { corked(); close(dup(s)); }
static void child_exit(void) {
	corked();
	pid_t child = fork();
	if (child == 0)
		_exit(0);
	waitpid(child, 0, 0);
}
static void last_exit(void) {
	int ready[2];
	char c;
	pipe(ready);
	pid_t child = fork();
	if (child == 0) {
		corked();
		write(ready[1], "x", 1);
		pause();
	}
	close(s);
	read(ready[0], &c, 1);
	close(ready[0]);
	close(ready[1]);
	kill(child, SIGKILL);
	waitpid(child, 0, 0);
}
static void more_close(void) { send(s, "hello", 5, MSG_MORE); close(s); }
static void more_then_write(void) { send(s, "he", 2, MSG_MORE); write(s, "llo", 3); }
static void more_then_send(void) { send(s, "he", 2, MSG_MORE); send(s, "llo", 3, 0); }
static void more(void) { send(s, "hello", 5, MSG_MORE); }
static void more_uncorked(void) { send(s, "hello", 5, MSG_MORE); set(TCP_CORK, 0); }
static void more_pushed(void) { send(s, "hello", 5, MSG_MORE); set(TCP_NODELAY, 1); }
static void more_corked(void) { set(TCP_CORK, 1); send(s, "he", 2, MSG_MORE); send(s, "llo", 3, 0); }
static void small_close(void) { write(s, "hello", 5); write(s, "hello", 5); close(s); }
static void small_shutdown(void) { write(s, "hello", 5); write(s, "hello", 5); shutdown(s, SHUT_WR); }
static void small_nodelay(void) { set(TCP_NODELAY, 1); write(s, "hello", 5); write(s, "hello", 5); }
static void large(void) {
	static char block[100000];
	set(TCP_CORK, 1);
	write(s, block, sizeof block);
	close(s);
}
static void gathered(void) {
	struct iovec v[] = {{"he", 2}, {"llo", 3}};
	set(TCP_CORK, 1);
	writev(s, v, 2);
	close(s);
}
static void from_file(void) {
	int f = open("cork.data", O_RDWR | O_CREAT | O_TRUNC, 0644);
	ftruncate(f, 300000);
	set(TCP_CORK, 1);
	write(s, "header", 6);
	off_t at = 0;
	while (at < 300000 && sendfile(s, f, &at, 300000 - at) > 0)
		;
	close(f);
	set(TCP_CORK, 0);
}

// pieces prints how many bytes the first read gets after two small writes.
static void pieces(const char *what, void (*do_it)(void)) {
	char buffer[64];
	connected();
	do_it();
	result(what, read(r, buffer, sizeof buffer));
	close(r);
	close(s);
}

static void options(void) {
	connected();
	SAY("TCP_CORK and TCP_NODELAY of a new socket", "%d %d", get(TCP_CORK), get(TCP_NODELAY));
	send(s, "x", 1, MSG_MORE);
	SAY("with MSG_MORE", "%d %d", get(TCP_CORK), get(TCP_NODELAY));
	set(TCP_CORK, 7);
	set(TCP_NODELAY, 8);
	SAY("both set", "%d %d", get(TCP_CORK), get(TCP_NODELAY));
	short half = 0;
	PRINT(setsockopt(s, IPPROTO_TCP, TCP_CORK, &half, sizeof half));
	PRINT(setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &half, sizeof half));
	set(TCP_NODELAY, 0);
	shutdown(s, SHUT_WR);
	SAY("after shutdown", "%d %d", get(TCP_CORK), get(TCP_NODELAY));
	set(TCP_NODELAY, 1);
	set(TCP_CORK, 0);
	SAY("changed after shutdown", "%d %d", get(TCP_CORK), get(TCP_NODELAY));
	signal(SIGPIPE, SIG_IGN);
	PRINT(send(s, "x", 1, 0));
	close(r);
	close(s);
	s = socket(AF_INET, SOCK_STREAM, 0);
	set(TCP_CORK, 1);
	PRINT(shutdown(s, SHUT_WR));
	SAY("of a socket not connected", "%d %d", get(TCP_CORK), get(TCP_NODELAY));
	close(s);
}

static void resets(void) {
	char buffer[64];
	struct linger l = {1, 0};
	connected();
	corked();
	setsockopt(s, SOL_SOCKET, SO_LINGER, &l, sizeof l);
	close(s);
	PRINT(read(r, buffer, sizeof buffer));
	close(r);
	connected();
	write(r, "unread", 6);
	ready(s, POLLIN);
	close(s);
	result("after a close with unread data", read(r, buffer, sizeof buffer));
	close(r);
	l.l_linger = 1;
	connected();
	corked();
	setsockopt(s, SOL_SOCKET, SO_LINGER, &l, sizeof l);
	close(s);
	result("after a close that lingers", read(r, buffer, sizeof buffer));
	close(r);
}

static void files(void) {
	struct stat a, b;
	connected();
	fcntl(s, F_SETFL, O_NONBLOCK);
	SAY("flags", "%#x", fcntl(s, F_GETFL) & ~O_LARGEFILE);
	fstat(s, &a);
	fstat(dup(s), &b);
	SAY("a duplicate is the same file", "%d, a socket %d", a.st_ino == b.st_ino, S_ISSOCK(a.st_mode));
	struct pollfd p = {s, POLLIN | POLLOUT | POLLRDHUP, 0};
	PRINT(poll(&p, 1, 0));
	SAY("events", "%#x", p.revents);
	close(r);
	ready(s, POLLRDHUP);
	PRINT(poll(&p, 1, 1000));
	SAY("events after the peer closed", "%#x", p.revents);
	close(s);
	fcntl(listener, F_SETFL, O_NONBLOCK);
	PRINT(accept(listener, 0, 0));
	fcntl(listener, F_SETFL, 0);
}

int main(void) {
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	listener = socket(AF_INET, SOCK_STREAM, 0);
	bind(listener, (void *)&a, sizeof a);
	listen(listener, 50);
	arrival("plain, closed", plain_close, 0);
	arrival("corked, closed", corked_close, 0);
	arrival("corked, shut down for writing", corked_shutdown, 0);
	arrival("corked, shut down", corked_both, 0);
	arrival("corked, uncorked", uncorked, 5);
	arrival("corked, TCP_NODELAY", pushed, 5);
	arrival("corked again after that", again, 0);
	arrival("corked, written after TCP_NODELAY", after_push, 10);
	arrival("corked", ceiling, 5);
	arrival("corked, a second time", second_ceiling, 10);
	arrival("corked, duplicate closed", dup_close, 5);
	arrival("corked, a child ended", child_exit, 5);
	arrival("corked, the last process killed", last_exit, 0);
	arrival("MSG_MORE, closed", more_close, 0);
	arrival("MSG_MORE, written", more_then_write, 5);
	arrival("MSG_MORE, sent", more_then_send, 5);
	arrival("MSG_MORE", more, 5);
	arrival("MSG_MORE, uncorked", more_uncorked, 5);
	arrival("MSG_MORE, TCP_NODELAY", more_pushed, 5);
	arrival("MSG_MORE and corked", more_corked, 5);
	arrival("small, closed", small_close, 0);
	arrival("small, shut down", small_shutdown, 0);
	arrival("small, TCP_NODELAY", small_nodelay, 10);
	arrival("large, corked, closed", large, 0);
	arrival("gathered, corked, closed", gathered, 0);
	arrival("from a file, uncorked", from_file, 300006);
	pieces("first read after MSG_MORE and write", more_then_write);
	pieces("first read after MSG_MORE and send", more_then_send);
	options();
	resets();
	files();
	return 0;
}
