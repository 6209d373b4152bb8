// pty checks a pseudo-terminal: echo and line editing, window size, the
// signals that its keys and its end send, and raw mode.

#define _GNU_SOURCE
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include "check.h"

static int master;

// expect reads from the master until it has seen want.
static void expect(const char *want)
{
	char got[512];
	size_t n = 0;

	while (memmem(got, n, want, strlen(want)) == NULL) {
		CHECK(n < sizeof got);
		ssize_t r = read(master, got + n, sizeof got - n);
		CHECK(r > 0);
		n += r;
	}
}

static void type(const char *keys)
{
	CHECK(write(master, keys, strlen(keys)) == (ssize_t)strlen(keys));
}

static volatile sig_atomic_t resized;

static void on_resize(int sig)
{
	(void)sig;
	resized = 1;
}

// child runs on the slave as its controlling terminal.
static int child(void)
{
	struct winsize ws;
	struct termios t;
	struct sigaction sa = { .sa_handler = on_resize };
	char line[64];
	ssize_t n;

	CHECK(isatty(0) && tcgetpgrp(0) == getpid());
	CHECK(sigaction(SIGWINCH, &sa, NULL) == 0);
	CHECK(ioctl(0, TIOCGWINSZ, &ws) == 0 && ws.ws_row == 33 && ws.ws_col == 99);
	CHECK(write(1, "ready\n", 6) == 6);
	n = read(0, line, sizeof line); // "heX<DEL>llo" edited by the terminal
	CHECK(n == 6 && memcmp(line, "hello\n", 6) == 0);
	CHECK(write(1, "edited\n", 7) == 7);
	while (!resized)
		pause();
	CHECK(ioctl(0, TIOCGWINSZ, &ws) == 0 && ws.ws_row == 40);
	CHECK(tcgetattr(0, &t) == 0);
	cfmakeraw(&t);
	t.c_lflag |= ISIG;
	CHECK(tcsetattr(0, TCSANOW, &t) == 0);
	CHECK(write(1, "raw\n", 4) == 4);
	CHECK(read(0, line, 1) == 1 && line[0] == 'q'); // without a newline
	CHECK(write(1, "waiting", 7) == 7);
	pause(); // Ctrl-C ends it
	return 1;
}

int main(void)
{
	struct winsize ws = { .ws_row = 33, .ws_col = 99 };
	int status;
	pid_t pid = forkpty(&master, NULL, NULL, &ws);

	CHECK(pid >= 0);
	if (pid == 0)
		_exit(child());
	expect("ready\r\n"); // output processing adds the CR
	type("heX\177llo\n");
	expect("edited\r\n");
	ws.ws_row = 40;
	CHECK(ioctl(master, TIOCSWINSZ, &ws) == 0);
	expect("raw\n");
	type("q");
	expect("waiting");
	type("\003");
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
	// With the slave closed everywhere the master reads EIO.
	char c;
	while (read(master, &c, 1) == 1)
		;
	CHECK(errno == EIO);
	puts("pty: ok");
	return 0;
}
