// everyfile does to every file below /proc, /sys and /dev, and below the
// folders that it is given, what a program can do to a file: as root and as
// user 1000, with processes and threads in every state, and with every kind of
// mount. Nothing is expected of a call but that it returns. The kernel must go
// on, and so must whoever started this program.
//
// Files whose paths differ in numbers only are of one kind: the first of a kind
// gets all of it, the others what their own state can matter to.
//
// It wants a machine of its own: it writes to all that it can.

#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>
#include "../check.h"

enum {
	LIMIT = 20,        // seconds that a file may take
	BUFFER = 64 << 10,
	TOO_DEEP = 12,     // folders
};

static char buffer[BUFFER];
static long files, kinds, slow;
static void *volatile nowhere; // NULL, which compilers would know to be wrong
static volatile size_t huge = -1ul;
static int keeps; // the user may change the file system: leave names as they are

// --- What is done to a file ---

static void look(const char *path)
{
	struct stat st;
	struct statfs fs;
	struct statx sx;
	int watch;

	stat(path, &st);
	lstat(path, &st);
	statfs(path, &fs);
	syscall(SYS_statx, AT_FDCWD, path, 0, 0xfff, &sx);
	syscall(SYS_statx, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, 0xffff, &sx);
	for (int mode = 0; mode < 8; mode++)
		access(path, mode);
	for (int n = 0; n < 4096; n = n * 3 + 1)
		(void)!readlink(path, buffer, n);
	listxattr(path, NULL, 0);
	listxattr(path, buffer, BUFFER);
	getxattr(path, "user.x", buffer, BUFFER);
	getxattr(path, "security.capability", buffer, BUFFER);
	getxattr(path, "trusted.overlay.opaque", buffer, 1);
	if ((watch = inotify_init1(IN_NONBLOCK)) >= 0) {
		inotify_add_watch(watch, path, IN_ALL_EVENTS);
		close(watch);
	}
	struct { unsigned bytes; int type; unsigned char handle[128]; } handle = {128, 0, {0}};
	int mount;
	syscall(SYS_name_to_handle_at, AT_FDCWD, path, &handle, &mount, 0);
}

// Names, which as a rule cannot be changed there.
static void names(const char *path)
{
	static const struct timespec times[2] = {{1, 2}, {3, 4}};
	char other[PATH_MAX];
	struct stat st;

	if (keeps)
		return;
	if (lstat(path, &st) != 0)
		return;
	snprintf(other, sizeof other, "%s.everyfile", path);
	if (rename(path, other) == 0)
		rename(other, path);
	if (link(path, other) == 0)
		unlink(other);
	if (symlink(path, other) == 0)
		unlink(other);
	if (mkdir(other, 0700) == 0)
		rmdir(other);
	if (mknod(other, S_IFIFO | 0600, 0) == 0)
		unlink(other);
	rename(path, "/tmp/everyfile.moved");
	rename("/tmp/everyfile.moved", path);
	(void)!chown(path, st.st_uid, st.st_gid);
	chmod(path, st.st_mode & 07777);
	utimensat(AT_FDCWD, path, times, 0);
	utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW);
	setxattr(path, "user.everyfile", "x", 1, 0);
	removexattr(path, "user.everyfile");
	(void)!truncate(path, -1);
	mount(path, path, "tmpfs", MS_REMOUNT | MS_RDONLY, NULL);
	rmdir(path); // a folder that is empty may really go
}

static const off_t offsets[] = {0, 1, 7, 4095, 4096, 4097, 65537, 1 << 20, 1ll << 31, 1ll << 32, 1ll << 40, INT64_MAX - 1, INT64_MAX, -1, INT64_MIN};
static const size_t sizes[] = {0, 1, 2, 7, 100, 4096, BUFFER};

static void reads(int fd)
{
	struct iovec iov[3] = {{buffer, 1}, {buffer + 100, 3}, {NULL, 4096}};
	int wherever, p[2];

	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
		(void)!read(fd, buffer, sizes[i]);
	(void)!read(fd, nowhere, 4096);
	(void)!read(fd, (void *)0xffff888000100000, 4096);
	for (unsigned i = 0; i < sizeof offsets / sizeof *offsets; i++) {
		(void)!pread(fd, buffer, 100, offsets[i]);
		(void)!pread(fd, buffer, BUFFER, offsets[i]);
		for (int whence = SEEK_SET; whence <= SEEK_HOLE; whence++)
			lseek(fd, offsets[i], whence);
		(void)!read(fd, buffer, 3);
	}
	lseek(fd, 0, SEEK_SET);
	(void)!readv(fd, iov, 3);
	(void)!preadv(fd, iov, 2, 5);
	lseek(fd, 0, SEEK_SET);
	readahead(fd, 0, 4096);
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	if ((wherever = open("/dev/null", O_WRONLY)) >= 0) {
		sendfile(wherever, fd, NULL, 4096);
		close(wherever);
	}
	if (pipe2(p, O_NONBLOCK) == 0) {
		loff_t at = 1;
		(void)!splice(fd, NULL, p[1], NULL, 4096, SPLICE_F_NONBLOCK);
		(void)!splice(fd, &at, p[1], NULL, 4096, SPLICE_F_NONBLOCK);
		tee(p[0], fd, 1, SPLICE_F_NONBLOCK);
		close(p[0]);
		close(p[1]);
	}
	// All of it, in pieces of many sizes.
	lseek(fd, 0, SEEK_SET);
	for (int n = 1, i = 0; i < 2000 && read(fd, buffer, n) > 0; n = n % 4000 + 17)
		i++;
}

static void lists(int fd)
{
	static const int small[] = {0, 1, 24, 32, 100, 4096, BUFFER};

	for (unsigned i = 0; i < sizeof small / sizeof *small; i++) {
		lseek(fd, 0, SEEK_SET);
		for (int n = 0; n < 50 && syscall(SYS_getdents64, fd, buffer, small[i]) > 0; n++)
			;
	}
	for (unsigned i = 0; i < sizeof offsets / sizeof *offsets; i++) {
		lseek(fd, offsets[i], SEEK_SET);
		syscall(SYS_getdents64, fd, buffer, 4096);
		syscall(SYS_getdents, fd, buffer, 4096);
	}
	lseek(fd, 0, SEEK_SET);
	syscall(SYS_getdents64, fd, NULL, 4096);
}

static sigjmp_buf touched;

static void untouched(int sig)
{
	(void)sig;
	siglongjmp(touched, 1);
}

static void maps(int fd)
{
	static const int flags[] = {MAP_SHARED, MAP_PRIVATE};

	for (volatile int prot = 0; prot < 8; prot++)
		for (volatile int i = 0; i < 2; i++) {
			volatile char *volatile p = mmap(NULL, 3 * 4096, prot, flags[i], fd, prot & 1 ? 4096 : 0);
			if (p == MAP_FAILED)
				continue;
			mprotect((void *)p, 4096, PROT_READ | PROT_WRITE);
			msync((void *)p, 4096, MS_SYNC);
			madvise((void *)p, 4096, MADV_DONTNEED);
			madvise((void *)p, 4096, MADV_POPULATE_READ);
			if (sigsetjmp(touched, 1) == 0) {
				char c = p[0];
				if (i == 1 && prot & PROT_WRITE)
					p[0] = c + 1;
				p[4096] = c;
			}
			munmap((void *)p, 3 * 4096);
		}
}

static void ioctls(int fd)
{
	static const unsigned long requests[] = {
		0, 1, 0xffffffff, 0x7fffffff,
		0x5401, 0x5402, 0x5403, 0x5404, 0x5405, 0x5408, 0x5409, 0x540a, 0x540b, 0x540c, 0x540d, 0x540e, 0x540f, // TC…, TIOCEXCL, TIOCSCTTY
		0x5410, 0x5411, 0x5412, 0x5413, 0x5414, 0x541a, 0x541b, 0x541d, 0x5420, 0x5421, 0x5422, 0x5423, 0x5424, 0x5425, 0x5429, // TIOC…, FION…
		0x80045430, 0x40045431, 0x5441, 0x80045438, 0x80045439, // TIOCGPTN, TIOCSPTLCK, TIOCGPTPEER
		0x5450, 0x5451, 0x5452, 0x5460, // FIONCLEX, FIOCLEX, FIOASYNC, FIOQSIZE
		0x1260, 0x125d, 0x125e, 0x1261, 0x1268, 0x127b, 0x80081272, 0x1277, // BLK…
		0x8904, 0x8910, 0x8912, 0x8913, 0x8915, 0x8933, 0x8927, // SIO…
		0x80086601, 0x40086602, 0x80047601, 0xc020660b, 0xc0045877, 0x40049409, 0xc0189436, // FS_IOC_…, FICLONE, FIDEDUPERANGE
		0x400454ca, 0x800454d2, 0x400454cb, // TUN…
		0x40187542, 0x6201, 0xc0306201, // fuse, binder
		0x40086200, 0xc018620c, 0xc0104b00, 0x4b3a, 0x4b46, 0x5600, 0x5606, // console, VT
		0x80045200, 0x40085203, 0x5207, // random
		0xb701, 0xb702, 0xb703, 0xb704, // namespaces
	};

	for (unsigned i = 0; i < sizeof requests / sizeof *requests; i++) {
		memset(buffer, 0, 4096);
		ioctl(fd, requests[i], buffer);
		ioctl(fd, requests[i], NULL);
		memset(buffer, 0xff, 4096);
		ioctl(fd, requests[i], buffer);
		ioctl(fd, requests[i], (void *)0xffff888000100000);
		ioctl(fd, requests[i], -1l);
	}
}

static void controls(int fd)
{
	struct pollfd p = {fd, POLLIN | POLLOUT | POLLPRI | POLLRDHUP, 0};
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET};
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_END, .l_start = -1};
	struct stat st;
	struct statfs fs;
	int e;

	poll(&p, 1, 0);
	if ((e = epoll_create1(0)) >= 0) {
		epoll_ctl(e, EPOLL_CTL_ADD, fd, &event);
		epoll_ctl(e, EPOLL_CTL_ADD, e, &event);
		epoll_wait(e, &event, 1, 0);
		close(e);
	}
	fstat(fd, &st);
	fstatfs(fd, &fs);
	fsync(fd);
	fdatasync(fd);
	syscall(SYS_syncfs, fd);
	flock(fd, LOCK_SH | LOCK_NB);
	flock(fd, LOCK_EX | LOCK_NB);
	flock(fd, LOCK_UN);
	for (int cmd = 0; cmd < 20; cmd++)
		if (cmd != F_SETLKW && cmd != F_SETOWN && cmd != F_SETOWN_EX) // whose signals end others
			fcntl(fd, cmd, &lock);
	fcntl(fd, F_SETLEASE, F_RDLCK);
	fcntl(fd, F_SETPIPE_SZ, 1 << 30);
	fcntl(fd, F_GETPIPE_SZ);
	fcntl(fd, F_NOTIFY, 0x3f);
	fcntl(fd, F_ADD_SEALS, 15);
	fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK | O_DIRECT | O_ASYNC);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	close(dup(fd));
	shutdown(fd, SHUT_RDWR);
	fchdir(fd);
	(void)!chdir("/");
	close(openat(fd, ".", O_PATH));
	close(openat(fd, "..", O_RDONLY));
	close(openat(fd, "", O_RDONLY | O_TMPFILE, 0600));
	syscall(SYS_execveat, fd, "", (char **)0xffff888000100000, NULL, AT_EMPTY_PATH); // whose arguments are nowhere
	syscall(SYS_kcmp, getpid(), getppid(), 0, fd, fd);
	syscall(SYS_setns, fd, CLONE_NEWUTS);
}

static const struct payload {
	const char *text;
	long size; // -1: all of text
} payloads[] = {
	{"", 0}, {"0", -1}, {"1", -1}, {"-1", -1}, {"0\n", -1}, {"1\n", -1}, {"-1\n", -1}, {"\n", -1}, {" ", -1}, {"\0\0\0\0", 4},
	{"4294967296", -1}, {"18446744073709551615", -1}, {"-9223372036854775808", -1}, {"99999999999999999999999999", -1},
	{"0x7fffffff", -1}, {"1 2 3", -1}, {"0 0 0 0 0 0", -1}, {"-1 -1 -1", -1}, {"0 0 4294967295", -1}, {"0 1000 1\n", -1},
	{"%s%n%d", -1}, {"../../..", -1}, {"+cpu -memory", -1}, {"allow", -1}, {"max", -1}, {NULL, 5000}, {NULL, BUFFER},
};

static void writes(int fd)
{
	static const off_t odd[] = {0, 1, 3, 4096, 1ll << 40, -1};

	for (unsigned i = 0; i < sizeof payloads / sizeof *payloads; i++) {
		const struct payload *p = &payloads[i];
		size_t n = p->size >= 0 ? (size_t)p->size : strlen(p->text);

		memset(buffer, '7', BUFFER);
		(void)!write(fd, p->text ? p->text : buffer, n);
		for (unsigned k = 0; k < sizeof odd / sizeof *odd; k++)
			(void)!pwrite(fd, p->text ? p->text : buffer, n, odd[k]);
	}
	(void)!write(fd, nowhere, 10);
	(void)!write(fd, (void *)0xffff888000100000, 10);
	(void)!write(fd, buffer, huge);
	(void)!ftruncate(fd, 0);
	(void)!ftruncate(fd, 4097);
	(void)!ftruncate(fd, -1);
	fallocate(fd, 0, 0, 4096);
	fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1, 1);
	fallocate(fd, 0, -1, INT64_MAX);
	(void)!copy_file_range(fd, NULL, fd, NULL, 100, 0);
}

// ours reports whether what path leads to may be written to: not a file of the
// root file system, which a link to an open file or a program leads to, and not
// the memory of who must go on.
static int ours(const char *path)
{
	char *real = realpath(path, NULL);
	const char *base = strrchr(path, '/');
	int mine = 1;

	// An open file without a name may be the console.
	if (!real && (strstr(path, "/fd/") || strncmp(path, "/dev/std", 8) == 0))
		mine = 0;
	if (real)
		mine = strncmp(real, "/proc/", 6) == 0 || strncmp(real, "/sys/", 5) == 0 || (strncmp(real, "/dev/", 5) == 0 && strcmp(real, "/dev/console") != 0) || strncmp(path, "/proc/", 6) != 0;
	free(real);
	if (base && strcmp(base, "/mem") == 0)
		mine = 0;
	return mine;
}

// briefly looks at a file, reads or lists it, and writes to it.
static void briefly(const char *path)
{
	struct stat st;
	int fd;

	stat(path, &st);
	lstat(path, &st);
	(void)!readlink(path, buffer, 4096);
	if ((fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY)) >= 0) {
		for (int n = 0; n < 20 && read(fd, buffer, BUFFER) > 0; n++)
			;
		(void)!pread(fd, buffer, 100, 4097);
		for (int n = 0; n < 20 && syscall(SYS_getdents64, fd, buffer, BUFFER) > 0; n++)
			;
		close(fd);
	}
	if (ours(path) && (fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY)) >= 0) {
		(void)!write(fd, "0", 1);
		(void)!write(fd, "-1 x", 4);
		close(fd);
	}
}

static void everything(const char *path)
{
	static const int modes[] = {
		O_RDONLY, O_WRONLY, O_RDWR, O_PATH, O_RDONLY | O_DIRECTORY, O_PATH | O_NOFOLLOW, O_RDONLY | O_NOFOLLOW,
		O_RDWR | O_APPEND | O_SYNC, O_RDONLY | O_DIRECT, O_RDONLY | O_NOATIME, O_RDWR | O_CREAT | O_EXCL, O_RDWR | O_CREAT,
		O_RDONLY | O_TMPFILE, O_ACCMODE,
	};
	int writable = ours(path);
	char before[4096];
	ssize_t had = -1;
	int fd;

	look(path);
	if (writable && strncmp(path, "/proc/sys/", 10) == 0 && (fd = open(path, O_RDONLY | O_NONBLOCK)) >= 0) {
		had = read(fd, before, sizeof before);
		close(fd);
	}
	for (unsigned i = 0; i < sizeof modes / sizeof *modes; i++) {
		if ((fd = open(path, modes[i] | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600)) < 0)
			continue;
		reads(fd);
		lists(fd);
		if (modes[i] <= O_RDWR) {
			maps(fd);
			ioctls(fd);
		}
		if (writable && (modes[i] & O_ACCMODE) != O_RDONLY)
			writes(fd);
		controls(fd);
		close(fd);
	}
	if (writable && (fd = open(path, O_WRONLY | O_TRUNC | O_NONBLOCK)) >= 0)
		close(fd);
	names(path);
	// A setting is as it was for the next file.
	if (had > 0 && (fd = open(path, O_WRONLY | O_NONBLOCK)) >= 0) {
		(void)!write(fd, before, had);
		close(fd);
	}
}

// --- The walk ---

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

// first reports whether a path is the first of its kind.
static int first(const char *path)
{
	static uint64_t seen[4096];
	uint64_t hash = 14695981039346656037u; // FNV-1a, of the path with 0 for a number
	size_t at;

	for (const char *p = path; *p; p++) {
		int digit = *p >= '0' && *p <= '9';
		if (digit && p[1] >= '0' && p[1] <= '9')
			continue;
		hash = (hash ^ (digit ? '0' : *p)) * 1099511628211u;
	}
	for (at = hash % 4096; seen[at] && seen[at] != hash; at = (at + 1) % 4096)
		;
	if (seen[at])
		return 0;
	seen[at] = hash;
	kinds++;
	CHECK(kinds < 4000);
	return 1;
}

// one does everything to a file in a child, which is ended if it takes too
// long. A child that does not end then is what this program is to find.
static void one(const char *path)
{
	double began = now();
	int status, killed = 0, all = first(path);
	pid_t child = fork();

	CHECK(child >= 0);
	files++;
	if (child == 0) {
		// What a write makes of this process is its own affair.
		signal(SIGPIPE, SIG_IGN);
		signal(SIGIO, SIG_IGN);
		signal(SIGHUP, SIG_IGN);
		signal(SIGTTOU, SIG_IGN);
		signal(SIGTTIN, SIG_IGN);
		signal(SIGSEGV, untouched);
		signal(SIGBUS, untouched);
		if (all)
			everything(path);
		else
			briefly(path);
		_exit(0);
	}
	for (;;) {
		pid_t p = waitpid(child, &status, WNOHANG);
		if (p == child)
			break;
		CHECK(p == 0);
		if (now() - began > LIMIT && !killed) {
			printf("everyfile: %s: not done after %d s\n", path, LIMIT);
			fflush(stdout);
			kill(child, SIGKILL);
			killed = 1;
			slow++;
		}
		if (now() - began > 10 * LIMIT) {
			printf("everyfile: %s: cannot be killed\n", path);
			fflush(stdout);
			_exit(1);
		}
		usleep(now() - began < 0.1 ? 500 : 10000);
	}
}

static int skipped(const char *path)
{
	// Who walks keeps its own files, which the child shows as its parent's.
	static const char *const not[] = {
		"/proc/sysrq-trigger", // its purpose is to end the machine
		NULL,
	};

	for (int i = 0; not[i]; i++)
		if (strcmp(path, not[i]) == 0)
			return 1;
	return 0;
}

static void walk(const char *path, int depth)
{
	struct dirent *e;
	struct stat st;
	DIR *d;

	if (depth > TOO_DEEP || skipped(path))
		return;
	one(path);
	if (lstat(path, &st) != 0 || !S_ISDIR(st.st_mode) || !(d = opendir(path)))
		return;
	while ((e = readdir(d))) {
		char sub[PATH_MAX];

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (snprintf(sub, sizeof sub, "%s/%s", strcmp(path, "/") ? path : "", e->d_name) < (int)sizeof sub)
			walk(sub, depth + 1);
	}
	closedir(d);
}

// --- Processes in every state ---

static pid_t states[32];
static int state_count;

// in_state starts a process that calls fn and then waits for good.
static void in_state(void (*fn)(void))
{
	int ready[2];
	char c;
	pid_t p;

	CHECK(pipe(ready) == 0 && (p = fork()) >= 0);
	if (p == 0) {
		close(ready[0]);
		// Their files are written to as well: what that does is theirs.
		alarm(0);
		fn();
		(void)!write(ready[1], "x", 1);
		close(ready[1]);
		for (;;)
			pause();
	}
	close(ready[1]);
	(void)!read(ready[0], &c, 1); // or the end, if it does not live
	close(ready[0]);
	states[state_count++] = p;
}

static void zombie(void) { _exit(3); }
static void plain(void) {}

static void has_zombie(void)
{
	if (fork() == 0)
		_exit(0);
	usleep(10000);
}

static void *forever(void *arg)
{
	if (arg)
		(void)!write((int)(intptr_t)arg, "x", 1);
	for (;;)
		pause();
	return NULL;
}

static void *exits(void *arg)
{
	(void)arg;
	return NULL;
}

static void threads(void)
{
	pthread_t t;

	for (int i = 0; i < 3; i++)
		pthread_create(&t, NULL, forever, NULL);
	pthread_create(&t, NULL, exits, NULL);
}

// leaderless is a process whose first thread has ended.
static void leaderless(void)
{
	pthread_t t;
	int out = dup(1);

	(void)out;
	CHECK(pthread_create(&t, NULL, forever, NULL) == 0);
	usleep(10000);
	pthread_exit(NULL);
}

static void stops(void) { raise(SIGSTOP); }

static void traced(void)
{
	ptrace(PTRACE_TRACEME, 0, 0, 0);
	raise(SIGTRAP);
}

// homeless has a working folder, a program and a mapped file without names.
static void homeless(void)
{
	int fd;

	mkdir("/tmp/everyfile.home", 0700);
	(void)!chdir("/tmp/everyfile.home");
	fd = open("file", O_RDWR | O_CREAT, 0600);
	(void)!ftruncate(fd, 8192);
	(void)!mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	unlink("file");
	rmdir("/tmp/everyfile.home");
}

static void rootless(void)
{
	mkdir("/tmp/everyfile.root", 0755);
	(void)!chroot("/tmp/everyfile.root");
	rmdir("/tmp/everyfile.root");
}

// detached has its working folder and a file on a mount that is gone.
static void detached(void)
{
	mkdir("/tmp/everyfile.mount", 0700);
	mount("none", "/tmp/everyfile.mount", "tmpfs", 0, NULL);
	(void)!chdir("/tmp/everyfile.mount");
	(void)!open("file", O_RDWR | O_CREAT, 0600);
	umount2("/tmp/everyfile.mount", MNT_DETACH);
	rmdir("/tmp/everyfile.mount");
}

static void namespaces(void)
{
	unshare(CLONE_NEWUSER);
	unshare(CLONE_NEWNS);
	unshare(CLONE_NEWNET);
	unshare(CLONE_NEWUTS | CLONE_NEWIPC);
	unshare(CLONE_NEWPID);
}

static void lowered(void)
{
	(void)!setgid(1000);
	(void)!setuid(1000);
}

// descriptors has one of every kind.
static void descriptors(void)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "\0everyfile"};
	static const int families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET};
	static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET};
	sigset_t set;
	int p[2], fd;

	for (unsigned i = 0; i < sizeof families / sizeof *families; i++)
		for (unsigned k = 0; k < sizeof types / sizeof *types; k++)
			(void)!socket(families[i], types[k], 0);
	(void)!pipe(p);
	(void)!socketpair(AF_UNIX, SOCK_STREAM, 0, p);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (bind(fd, (struct sockaddr *)&name, sizeof name) == 0)
		listen(fd, 3);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	(void)!signalfd(-1, &set, 0);
	(void)!eventfd(3, 0);
	fd = timerfd_create(CLOCK_MONOTONIC, 0);
	fd = epoll_create1(0);
	struct epoll_event event = {.events = EPOLLIN};
	epoll_ctl(fd, EPOLL_CTL_ADD, p[0], &event);
	fd = inotify_init1(0);
	inotify_add_watch(fd, "/tmp", IN_ALL_EVENTS);
	fd = memfd_create("everyfile", MFD_ALLOW_SEALING);
	(void)!ftruncate(fd, 10000);
	(void)!mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 4096);
	fd = open("/dev/ptmx", O_RDWR | O_NOCTTY);
	fd = open("/", O_PATH);
	fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);
	(void)!syscall(SYS_pidfd_open, getpid(), 0);
	(void)!syscall(SYS_pidfd_open, getppid(), 0);
	(void)!open("/proc/self/ns/mnt", O_RDONLY);
	(void)!open("/proc/self/mem", O_RDWR);
	(void)!open("/dev/null", O_RDWR);
	(void)!syscall(SYS_io_uring_setup, 4, buffer);
	(void)!syscall(SYS_userfaultfd, 0);
}

static void processes(void)
{
	static void (*const all[])(void) = {
		plain, zombie, has_zombie, threads, leaderless, stops, traced, homeless, rootless, detached, namespaces, lowered, descriptors,
	};

	for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
		if (all[i] == leaderless || all[i] == stops || all[i] == traced) {
			pid_t p = fork(); // does not come to say that it is ready
			CHECK(p >= 0);
			if (p == 0) {
				all[i]();
				_exit(0);
			}
			states[state_count++] = p;
		} else {
			in_state(all[i]);
		}
	usleep(100000);
}

static void end_processes(void)
{
	for (int i = 0; i < state_count; i++) {
		kill(states[i], SIGKILL);
		kill(states[i], SIGCONT);
	}
	for (int i = 0; i < state_count; i++)
		CHECK(waitpid(states[i], NULL, __WALL) == states[i] || errno == ECHILD);
	state_count = 0;
}

// --- Mounts ---

static const char *const types[] = {"tmpfs", "proc", "sysfs", "devpts", "devtmpfs", "mqueue", "cgroup", "cgroup2", "overlay", "ramfs", "securityfs", "fuse", "nosuch", ""};

static void mounts(void)
{
	char path[100];

	mkdir("/tmp/everyfile.d", 0755);
	for (unsigned i = 0; i < sizeof types / sizeof *types; i++) {
		snprintf(path, sizeof path, "/tmp/everyfile.d/%s", types[i][0] ? types[i] : "empty");
		mkdir(path, 0755);
		mount("a source with blanks\n", path, types[i], i & 1 ? MS_NODEV | MS_NOSUID | MS_RDONLY : 0, NULL);
	}
	mkdir("/tmp/everyfile.d/lower", 0755);
	mkdir("/tmp/everyfile.d/upper", 0755);
	mkdir("/tmp/everyfile.d/work", 0755);
	mkdir("/tmp/everyfile.d/over\\lay 1\n", 0755);
	mount("overlay", "/tmp/everyfile.d/over\\lay 1\n", "overlay", 0, "lowerdir=/tmp/everyfile.d/lower,upperdir=/tmp/everyfile.d/upper,workdir=/tmp/everyfile.d/work");
	mkdir("/tmp/everyfile.d/bound", 0755);
	mount("/proc", "/tmp/everyfile.d/bound", NULL, MS_BIND | MS_REC, NULL);
	mkdir("/tmp/everyfile.d/bound2", 0755);
	mount("/etc", "/tmp/everyfile.d/bound2", NULL, MS_BIND, NULL);
	mount("tmpfs", "/tmp/everyfile.d/bound2", "tmpfs", 0, NULL); // over another
	mount(NULL, "/tmp/everyfile.d/tmpfs", NULL, MS_SHARED, NULL);
	mount(NULL, "/tmp/everyfile.d/tmpfs", NULL, MS_SLAVE, NULL);
}

static void unmounts(void)
{
	static const char *const others[] = {"empty", "over\\lay 1\n", "bound", "bound2", "bound2"};
	char path[100];

	for (unsigned i = 0; i < sizeof types / sizeof *types; i++) {
		snprintf(path, sizeof path, "/tmp/everyfile.d/%s", types[i]);
		if (types[i][0])
			umount2(path, MNT_DETACH);
	}
	for (unsigned i = 0; i < sizeof others / sizeof *others; i++) {
		snprintf(path, sizeof path, "/tmp/everyfile.d/%s", others[i]);
		umount2(path, MNT_DETACH);
	}
}

// round_as walks all as a user, in a child, and adds up what it counted.
static void round_as(int user, int argc, char **argv)
{
	int result[2];
	long counted[3] = {0};
	pid_t p;

	CHECK(pipe(result) == 0 && (p = fork()) >= 0);
	if (p == 0) {
		close(result[0]);
		if (user) {
			CHECK(setgid(user) == 0 && setuid(user) == 0);
			keeps = 0;
		}
		walk("/proc", 0);
		walk("/sys", 0);
		for (int i = 1; i < argc; i++)
			walk(argv[i], 0);
		keeps = 1; // the devices are needed
		walk("/dev", 0);
		counted[0] = files;
		counted[1] = slow;
		counted[2] = kinds;
		(void)!write(result[1], counted, sizeof counted);
		_exit(0);
	}
	close(result[1]);
	(void)!read(result[0], counted, sizeof counted);
	close(result[0]);
	int status;
	CHECK(waitpid(p, &status, 0) == p && status == 0);
	CHECK(counted[2] > 150);
	printf("everyfile: user %d: %ld files of %ld kinds\n", user, counted[0], counted[2]);
	fflush(stdout);
	files += counted[0];
	slow += counted[1];
}

int main(int argc, char **argv)
{
	CHECK(getpid() != 1); // the walk is to leave something that goes on
	mounts();
	processes();
	round_as(1000, argc, argv);
	round_as(0, argc, argv);
	end_processes();
	unmounts();
	CHECK(slow == 0 && files > 500);
	puts("everyfile: ok");
	return 0;
}
