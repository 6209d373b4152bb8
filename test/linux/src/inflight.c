// Files in messages that nobody has received: a user without rights may have as
// many as RLIMIT_NOFILE says, and one message more.
#include "print.h"
#include <sys/resource.h>

enum { FILES = 10 };

static long put(int over, int files) {
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(FILES * sizeof(int))];
	} control = {.header = {CMSG_LEN(files * sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
	for (int i = 0; i < files; i++)
		((int *)CMSG_DATA(&control.header))[i] = 0;
	struct iovec v = {"x", 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_SPACE(files * sizeof(int))};
	return sendmsg(over, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

// take receives a message with room for some files, and closes them.
static long take(int from, int room, int flags) {
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(FILES * sizeof(int))];
	} control;
	char c;
	struct iovec v = {&c, 1};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = room ? CMSG_SPACE(room * sizeof(int)) : 0};
	long n = recvmsg(from, &m, MSG_DONTWAIT | flags);
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	if (n >= 0 && h)
		for (unsigned i = 0; i < (h->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++)
			close(((int *)CMSG_DATA(h))[i]);
	return n;
}

static void flights(int type) {
	int s[2], other[2];
	socketpair(AF_UNIX, type, 0, s);
	PRINT(put(s[0], FILES));
	PRINT(put(s[0], FILES));
	PRINT(put(s[0], FILES));
	PRINT(put(s[0], 1));
	PRINT(send(s[0], "y", 1, 0)); // without files
	PRINT(take(s[1], FILES, MSG_PEEK));
	PRINT(put(s[0], 1));
	PRINT(take(s[1], FILES, 0));
	PRINT(put(s[0], FILES));
	PRINT(put(s[0], FILES));
	PRINT(take(s[1], 3, 0)); // the others are gone
	PRINT(put(s[0], FILES));
	PRINT(take(s[1], 0, 0)); // all are gone
	PRINT(put(s[0], FILES));
	PRINT(put(s[0], FILES));
	socketpair(AF_UNIX, type, 0, other);
	PRINT(put(other[0], 1)); // a user's, not a socket's
	close(s[0]);
	close(s[1]);
	PRINT(put(other[0], FILES));
	close(other[1]);
	for (int i = 0; i < 4; i++) // to nobody
		PRINT(put(other[0], FILES) == -1 && errno != ETOOMANYREFS);
	close(other[0]);
}

static void as_user(int user) {
	pid_t child = fork();
	if (child == 0) {
		if (setgid(user) != 0 || setuid(user) != 0)
			_exit(1);
		setrlimit(RLIMIT_NOFILE, &(struct rlimit){20, 20});
		flights(SOCK_STREAM);
		flights(SOCK_SEQPACKET);
		flights(SOCK_DGRAM);
		_exit(0);
	}
	int status;
	waitpid(child, &status, 0);
	PRINT(status);
}

int main(void) {
	as_user(54322);
	as_user(0);
	as_user(54322);
	return 0;
}
