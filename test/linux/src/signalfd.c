// signalfd(2): descriptors, masks that are replaced, what a read gives.
#include "print.h"
#include <sys/signalfd.h>

int main(void) {
	sigset_t usr1, usr2, both, none;
	sigemptyset(&none);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigemptyset(&usr2);
	sigaddset(&usr2, SIGUSR2);
	both = usr1;
	sigaddset(&both, SIGUSR2);
	sigprocmask(SIG_BLOCK, &both, 0);
	int s = dup2(signalfd(-1, &usr1, SFD_NONBLOCK), 20), p[2];
	struct signalfd_siginfo i = {0};
	PRINT(signalfd(s, &usr1, 0));
	PRINT(signalfd(s, &usr2, SFD_NONBLOCK | SFD_CLOEXEC));
	PRINT(signalfd(s, &usr2, 1));
	PRINT(signalfd(21, &usr2, 0));
	PRINT(signalfd(-2, &usr2, 0));
	pipe(p);
	PRINT(signalfd(p[0], &usr2, 0));
	PRINT(syscall(SYS_signalfd4, 20, &usr2, 4, 0));
	PRINT(syscall(SYS_signalfd, 20, &usr2, 8));
	PRINT(syscall(SYS_signalfd4, 20, (void *)8, 8, 0));
	PRINT(fcntl(s, F_GETFL) & O_NONBLOCK);
	PRINT(fcntl(s, F_GETFD));
	PRINT(read(s, &i, sizeof i));
	raise(SIGUSR1);
	errno = 0;
	result("read of a signal that the new mask has not", read(s, &i, sizeof i));
	raise(SIGUSR2);
	PRINT(read(s, &i, sizeof i - 1));
	result("read of one that it has", read(s, &i, sizeof i));
	SAY("signal, code, own pid", "%u %d %d", i.ssi_signo, i.ssi_code, i.ssi_pid == (uint32_t)getpid());
	struct pollfd f = {s, POLLIN, 0};
	PRINT(poll(&f, 1, 0));
	PRINT(signalfd(20, &both, 0));
	result("poll after the mask grew", poll(&f, 1, 0));
	result("read after the mask grew", read(s, &i, sizeof i));
	PRINT(signalfd(20, &none, 0));
	raise(SIGUSR1);
	result("poll with an empty mask", poll(&f, 1, 0));
	PRINT(write(s, &i, sizeof i));
	PRINT(lseek(s, 0, SEEK_CUR));
	PRINT(pread(s, &i, sizeof i, 0));
	return 0;
}
