// Locks of fcntl(2): what F_GETLK and F_OFD_GETLK fill in, and errors.
#include "print.h"

static int f, g;

static void show(const char *what, int cmd, struct flock q, pid_t child) {
	char line[200];
	errno = 0;
	int r = fcntl(f, cmd, &q);
	snprintf(line, sizeof line, "%s by %s", what, cmd == F_GETLK ? "F_GETLK" : "F_OFD_GETLK");
	if (r < 0)
		SAY(line, "%s", strerrorname_np(errno));
	else
		SAY(line, "type %d whence %d start %ld len %ld, %s", q.l_type, q.l_whence, (long)q.l_start, (long)q.l_len,
		    q.l_pid == child ? "the child" : q.l_pid == -1 ? "-1" : q.l_pid == 0 ? "0" : q.l_pid == 77 ? "77" : "another");
}

static void all(const char *state, pid_t child) {
	static const struct { const char *name; struct flock q; } asks[] = {
		{"all", {.l_type = F_WRLCK}},
		{"reading all", {.l_type = F_RDLCK}},
		{"from here", {.l_type = F_WRLCK, .l_whence = SEEK_CUR, .l_start = 3, .l_len = 5}},
		{"from the end", {.l_type = F_WRLCK, .l_whence = SEEK_END, .l_start = -5, .l_len = 3}},
		{"backwards", {.l_type = F_WRLCK, .l_start = 20, .l_len = -15}},
		{"elsewhere", {.l_type = F_WRLCK, .l_start = 500, .l_len = 5}},
		{"with a process", {.l_type = F_WRLCK, .l_start = 600, .l_len = 5, .l_pid = 77}},
		{"unlocked", {.l_type = F_UNLCK, .l_start = 600, .l_len = 5, .l_pid = 77}},
		{"a bad type", {.l_type = 9}},
		{"a bad whence", {.l_type = F_WRLCK, .l_whence = 9}},
		{"before the start", {.l_type = F_WRLCK, .l_start = -5, .l_len = 3}},
	};
	for (unsigned i = 0; i < sizeof asks / sizeof *asks; i++) {
		char what[100];
		snprintf(what, sizeof what, "%s, %s", state, asks[i].name);
		show(what, F_GETLK, asks[i].q, child);
		// Later Linux lets F_OFD_GETLK ask for one's own locks with F_UNLCK.
		if (asks[i].q.l_type != F_UNLCK)
			show(what, F_OFD_GETLK, asks[i].q, child);
	}
}

// notifications prints what F_NOTIFY without events says: nothing is to end.
static void notifications(void) {
	int dir = open(".", O_RDONLY | O_DIRECTORY), path = open(".", O_PATH), file = open("notify", O_RDWR | O_CREAT, 0600);
	PRINT(fcntl(dir, F_NOTIFY, 0));
	PRINT(fcntl(dir, F_NOTIFY, DN_MULTISHOT));
	PRINT(fcntl(file, F_NOTIFY, DN_MULTISHOT));
	PRINT(fcntl(path, F_NOTIFY, 0));
	PRINT(fcntl(-1, F_NOTIFY, 0));
	unlink("notify");
	close(dir);
	close(path);
	close(file);
}

int main(void) {
	notifications();
	int p[2];
	char c;
	f = open("locks", O_RDWR | O_CREAT | O_TRUNC, 0644);
	ftruncate(f, 100);
	lseek(f, 10, SEEK_SET);
	all("free", -2);
	pipe(p);
	pid_t child = fork();
	if (child == 0) {
		struct flock l = {.l_type = F_WRLCK, .l_start = 10, .l_len = 5};
		fcntl(open("locks", O_RDWR), F_SETLK, &l);
		write(p[1], "x", 1);
		pause();
	}
	read(p[0], &c, 1);
	all("held", child);
	struct flock w = {.l_type = F_WRLCK, .l_start = 12, .l_len = 1}, r = {.l_type = F_RDLCK, .l_start = 12, .l_len = 1};
	PRINT(fcntl(f, F_SETLK, &w));
	PRINT(fcntl(f, F_SETLK, &r));
	PRINT(fcntl(f, F_OFD_SETLK, &w));
	kill(child, SIGKILL);
	wait(0);
	all("free again", child);
	g = open("locks", O_RDWR);
	PRINT(fcntl(g, F_OFD_SETLK, &w));
	all("an open file's", child);
	PRINT(fcntl(f, F_SETLK, &w));
	PRINT(fcntl(f, F_OFD_SETLK, &r));
	w.l_pid = 1;
	PRINT(fcntl(g, F_OFD_SETLK, &w));
	PRINT(fcntl(77, F_GETLK, &w));
	PRINT(fcntl(f, F_GETLK, (void *)8));
	PRINT(fcntl(f, F_SETLK, (void *)8));
	int ro = open("locks", O_RDONLY), wo = open("locks", O_WRONLY);
	w.l_pid = 0;
	PRINT(fcntl(ro, F_SETLK, &w));
	PRINT(fcntl(wo, F_SETLK, &r));
	PRINT(fcntl(ro, F_GETLK, &w));
	close(g);
	all("closed", child);
	return 0;
}
