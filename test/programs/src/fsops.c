/*
 * fsops DIRECTORY: every operation on a file, a directory, a symbolic link and a
 * FIFO of a file system, in every state that they can get into: as they are,
 * removed, with their parent removed, renamed, below a bind mount, unmounted
 * (MNT_DETACH), seen from another mount namespace, read-only. A line tells what
 * each operation returned; Linux prints the same lines. fsops needs the right to
 * mount; with a second argument it does what a file system allows that cannot be
 * written.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static const char *state = "";
static const char *object = "";
static sigjmp_buf fault;

static const char *error_name(int e)
{
	return e ? strerrorname_np(e) ? strerrorname_np(e) : "?" : "0";
}

/* say tells what operation returned r and set errno. Of results that differ
 * from one file system to another, such as a descriptor, only success counts. */
static long say(const char *operation, long r)
{
	int e = errno;
	if (r < 0)
		printf("%s %s: %s: %s\n", state, object, operation, error_name(e));
	else
		printf("%s %s: %s: ok\n", state, object, operation);
	return r;
}

static long value(const char *operation, long r)
{
	if (r < 0)
		return say(operation, r);
	printf("%s %s: %s: %ld\n", state, object, operation, r);
	return r;
}

#define SAY(call) (errno = 0, say(#call, (long)(call)))
#define VALUE(call) (errno = 0, value(#call, (long)(call)))

static void die(const char *what)
{
	printf("fsops: %s %s: %s: %s\n", state, object, what, strerror(errno));
	exit(1);
}

static void on_fault(int sig) { siglongjmp(fault, sig); }

/* try closes what call opened. */
static void try_fd(const char *operation, int fd)
{
	say(operation, fd);
	if (fd >= 0)
		close(fd);
}
#define TRY(call) (errno = 0, try_fd(#call, (int)(call)))

static char buf[65536];

/* touch maps a page of fd and reads or writes it. */
static void touch(int fd, int prot, int flags)
{
	char what[64];
	snprintf(what, sizeof what, "mmap %s %s", prot & PROT_WRITE ? "write" : "read", flags == MAP_SHARED ? "shared" : "private");
	errno = 0;
	volatile char *p = mmap(0, 8192, prot, flags, fd, 0);
	if (p == MAP_FAILED) {
		say(what, -1);
		return;
	}
	int sig = sigsetjmp(fault, 1);
	if (sig == 0) {
		char c = p[0];
		if (prot & PROT_WRITE)
			p[0] = c;
		say(what, 0);
	} else {
		printf("%s %s: %s: %s\n", state, object, what, strsignal(sig));
	}
	if (flags == MAP_SHARED)
		SAY(msync((void *)p, 4096, MS_SYNC));
	munmap((void *)p, 8192);
}

/* describe is what every kind of descriptor can do. */
static void describe(int fd)
{
	struct stat st;
	struct statx sx;
	struct statfs sf;
	char link[64], proc[64];
	if (SAY(fstat(fd, &st)) == 0)
		printf("%s %s: mode %o, links %s\n", state, object, st.st_mode, st.st_nlink ? "some" : "none");
	SAY(statx(fd, "", AT_EMPTY_PATH, STATX_ALL, &sx));
	SAY(fstatfs(fd, &sf));
	SAY(fchmod(fd, st.st_mode & 07777));
	SAY(fchown(fd, 0, 0));
	SAY(futimens(fd, 0));
	SAY(fsetxattr(fd, "user.x", "value", 5, 0));
	VALUE(fgetxattr(fd, "user.x", buf, sizeof buf));
	SAY(flistxattr(fd, buf, sizeof buf));
	SAY(fremovexattr(fd, "user.x"));
	SAY(fgetxattr(fd, "security.x", buf, sizeof buf));
	SAY(fgetxattr(fd, "system.posix_acl_access", buf, sizeof buf));
	SAY(fgetxattr(fd, "nothing.x", buf, sizeof buf));
	SAY(fsync(fd));
	SAY(fdatasync(fd));
	SAY(syncfs(fd));
	SAY(flock(fd, LOCK_EX | LOCK_NB));
	SAY(flock(fd, LOCK_UN));
	struct flock lk = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_len = 10};
	SAY(fcntl(fd, F_SETLK, &lk));
	SAY(fcntl(fd, F_GETLK, &lk));
	SAY(fcntl(fd, F_OFD_SETLK, &lk));
	SAY(fcntl(fd, F_NOTIFY, DN_MODIFY));
	SAY(fcntl(fd, F_GETLEASE));
	SAY(fcntl(fd, F_SETPIPE_SZ, 4096));
	SAY(fcntl(fd, F_ADD_SEALS, 1));
	snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
	SAY(readlink(proc, link, sizeof link));
	TRY(open(proc, O_RDONLY | O_NONBLOCK));
	TRY(open(proc, O_PATH));
	SAY(stat(proc, &st));
	SAY(access(proc, R_OK));
	SAY(chmod(proc, st.st_mode & 07777));
	int in = inotify_init();
	SAY(inotify_add_watch(in, proc, IN_ALL_EVENTS));
	close(in);
	int ep = epoll_create(1);
	struct epoll_event ev = {.events = EPOLLIN};
	SAY(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
	close(ep);
	struct pollfd pf = {.fd = fd, .events = POLLIN | POLLOUT};
	SAY(poll(&pf, 1, 0));
	int n;
	SAY(ioctl(fd, FIONREAD, &n));
	SAY(ioctl(fd, FIOCLEX));
	SAY(ioctl(fd, TCGETS, buf));
	SAY(linkat(AT_FDCWD, proc, AT_FDCWD, proc, AT_SYMLINK_FOLLOW));
	SAY(syscall(SYS_execveat, fd, "", (char *[]){0}, (char *[]){0}, AT_EMPTY_PATH));
}

/* content is what a descriptor of a regular file can do. */
static void content(int fd, int other)
{
	struct iovec v[2] = {{buf, 100}, {buf + 100, 100}};
	off_t off = 0, off2 = 0;
	VALUE(write(fd, "hello world", 11));
	VALUE(pwrite(fd, buf, 10000, 11));
	VALUE(pwritev(fd, v, 2, 5000));
	VALUE(pread(fd, buf, 100, 0));
	VALUE(preadv(fd, v, 2, 9990));
	VALUE(pread(fd, buf, 100, 1 << 30));
	VALUE(pread(fd, buf, 100, -1));
	VALUE(lseek(fd, 0, SEEK_SET));
	VALUE(lseek(fd, -1, SEEK_SET));
	VALUE(lseek(fd, 0, SEEK_DATA));
	VALUE(lseek(fd, 1 << 30, SEEK_HOLE));
	VALUE(read(fd, buf, 11));
	SAY(ftruncate(fd, 20000));
	SAY(ftruncate(fd, -1));
	SAY(fallocate(fd, 0, 0, 30000));
	SAY(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 40000));
	SAY(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 8192));
	SAY(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 4096, 8192));
	SAY(fallocate(fd, 0, 0, 0));
	VALUE(pread(fd, buf, 11, 0));
	touch(fd, PROT_READ, MAP_SHARED);
	touch(fd, PROT_READ, MAP_PRIVATE);
	touch(fd, PROT_READ | PROT_WRITE, MAP_SHARED);
	touch(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	SAY(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) ? -1 : 0);
	SAY(readahead(fd, 0, 4096));
	SAY(sync_file_range(fd, 0, 4096, SYNC_FILE_RANGE_WRITE));
	int p[2];
	if (pipe(p) == 0) {
		off = 0;
		VALUE(splice(fd, &off, p[1], 0, 100, 0));
		off = 0;
		VALUE(splice(p[0], 0, fd, &off, 100, 0));
		close(p[0]);
		close(p[1]);
	}
	off = 0;
	VALUE(sendfile(other, fd, &off, 100));
	off = off2 = 0;
	SAY(copy_file_range(fd, &off, other, &off2, 100, 0));
	SAY(getdents64(fd, buf, sizeof buf));
	SAY(fchdir(fd));
	SAY(ftruncate(fd, 0));
	touch(fd, PROT_READ, MAP_SHARED);
}

/* entries is what a descriptor of a directory can do with names in it. The
 * names are gone when it returns. */
static void entries(int fd)
{
	struct stat st;
	char cwd[4096];
	int back = open(".", O_RDONLY | O_DIRECTORY);
	if (SAY(fchdir(fd)) == 0)
		SAY(syscall(SYS_getcwd, cwd, sizeof cwd));
	lseek(fd, 0, SEEK_SET);
	SAY(getdents64(fd, buf, sizeof buf));
	lseek(fd, 0, SEEK_SET); /* or the position may be too large */
	SAY(read(fd, buf, 10));
	SAY(write(fd, buf, 10));
	SAY(ftruncate(fd, 0));
	SAY(fallocate(fd, 0, 0, 100));
	SAY(openat(fd, "none", O_RDONLY));
	SAY(openat(fd, "none/none", O_RDONLY));
	TRY(openat(fd, ".", O_RDONLY));
	TRY(openat(fd, "..", O_RDONLY));
	SAY(openat(fd, ".", O_RDWR));
	SAY(openat(fd, ".", O_RDONLY | O_CREAT, 0600));
	TRY(openat(fd, ".", O_TMPFILE | O_RDWR, 0600));
	TRY(openat(fd, "new", O_CREAT | O_EXCL | O_RDWR, 0640));
	SAY(openat(fd, "new", O_CREAT | O_EXCL | O_RDWR, 0640));
	TRY(openat(fd, "new", O_RDONLY | O_NOFOLLOW));
	SAY(openat(fd, "new", O_RDONLY | O_DIRECTORY));
	SAY(openat(fd, "new/", O_RDONLY));
	SAY(openat(fd, "new/x", O_RDONLY));
	SAY(faccessat(fd, "new", R_OK, 0));
	SAY(fstatat(fd, "new", &st, 0));
	SAY(fchmodat(fd, "new", 0600, 0));
	SAY(fchownat(fd, "new", 0, 0, AT_SYMLINK_NOFOLLOW));
	SAY(utimensat(fd, "new", 0, 0));
	SAY(linkat(fd, "new", fd, "link", 0));
	SAY(linkat(fd, "new", fd, "new", 0));
	SAY(linkat(fd, "none", fd, "link2", 0));
	SAY(linkat(fd, ".", fd, "link2", 0));
	SAY(mkdirat(fd, "dir", 0700));
	SAY(mkdirat(fd, "dir", 0700));
	SAY(mkdirat(fd, "dir/", 0700));
	SAY(mkdirat(fd, "none/dir", 0700));
	SAY(mkdirat(fd, ".", 0700));
	SAY(symlinkat("new", fd, "symlink"));
	SAY(symlinkat("", fd, "empty"));
	SAY(openat(fd, "symlink", O_RDONLY | O_NOFOLLOW));
	TRY(openat(fd, "symlink", O_RDONLY));
	VALUE(readlinkat(fd, "symlink", buf, sizeof buf));
	SAY(readlinkat(fd, "new", buf, sizeof buf));
	SAY(symlinkat("loop", fd, "loop"));
	SAY(openat(fd, "loop", O_RDONLY));
	SAY(openat(fd, "loop", O_RDONLY | O_CREAT, 0600));
	SAY(mknodat(fd, "fifo", S_IFIFO | 0600, 0));
	TRY(openat(fd, "fifo", O_RDONLY | O_NONBLOCK));
	SAY(openat(fd, "fifo", O_WRONLY | O_NONBLOCK));
	SAY(mknodat(fd, "file", S_IFREG | 0600, 0));
	SAY(mknodat(fd, "bad", S_IFDIR | 0600, 0));
	SAY(renameat(fd, "file", fd, "link"));
	SAY(renameat(fd, "none", fd, "link"));
	SAY(renameat(fd, "new", fd, "dir"));
	SAY(renameat(fd, "dir", fd, "new"));
	SAY(renameat(fd, "dir", fd, "dir/sub"));
	SAY(renameat(fd, ".", fd, "x"));
	SAY(renameat2(fd, "new", fd, "link", RENAME_NOREPLACE));
	SAY(renameat2(fd, "new", fd, "dir", RENAME_EXCHANGE));
	SAY(renameat2(fd, "new", fd, "dir", RENAME_EXCHANGE));
	SAY(renameat2(fd, "new", fd, "link", RENAME_EXCHANGE | RENAME_NOREPLACE));
	SAY(unlinkat(fd, "dir", 0));
	SAY(unlinkat(fd, "new", AT_REMOVEDIR));
	SAY(unlinkat(fd, ".", AT_REMOVEDIR));
	SAY(unlinkat(fd, "..", AT_REMOVEDIR));
	SAY(unlinkat(fd, "new/", 0));
	for (const char **n = (const char *[]){"new", "link", "symlink", "loop", "fifo", "file", 0}; *n; n++)
		unlinkat(fd, *n, 0);
	SAY(unlinkat(fd, "dir", AT_REMOVEDIR));
	lseek(fd, 0, SEEK_SET);
	SAY(getdents64(fd, buf, sizeof buf));
	if (back >= 0 && fchdir(back) == 0)
		close(back);
}

/* A set of objects in directory dir/d, all of them open. */
struct set {
	int dir, file, path, fifo, other;
};

static char top[4096];

static void in_top(char *b, const char *name) { snprintf(b, 4096, "%.2000s/%.1000s", top, name); }

static struct set make_set(int at, int writable)
{
	struct set s;
	if (writable) {
		mkdirat(at, "d", 0755);
		close(openat(at, "d/file", O_CREAT | O_RDWR, 0644));
		close(openat(at, "d/other", O_CREAT | O_RDWR, 0644));
		symlinkat("file", at, "d/symlink");
		mknodat(at, "d/fifo", S_IFIFO | 0600, 0);
	}
	s.dir = openat(at, "d", O_RDONLY | O_DIRECTORY);
	s.file = openat(at, "d/file", writable ? O_RDWR : O_RDONLY);
	s.other = openat(at, "d/other", writable ? O_RDWR : O_RDONLY);
	s.path = openat(at, "d/symlink", O_PATH | O_NOFOLLOW);
	s.fifo = openat(at, "d/fifo", writable ? O_RDWR | O_NONBLOCK : O_RDONLY | O_NONBLOCK);
	if (s.dir < 0 || s.file < 0 || s.path < 0)
		die("a set of files");
	return s;
}

/* use does everything with a set, and closes it. */
static void use(const char *how, struct set s)
{
	state = how;
	object = "file";
	describe(s.file);
	content(s.file, s.other);
	object = "directory";
	describe(s.dir);
	entries(s.dir);
	object = "symlink";
	describe(s.path);
	VALUE(readlinkat(s.path, "", buf, sizeof buf));
	if (s.fifo >= 0) {
		object = "fifo";
		describe(s.fifo);
		VALUE(write(s.fifo, "x", 1));
		VALUE(read(s.fifo, buf, 10));
		touch(s.fifo, PROT_READ, MAP_SHARED);
		close(s.fifo);
	}
	close(s.file);
	close(s.other);
	close(s.path);
	close(s.dir);
	fflush(stdout);
}

static void clear_set(int at)
{
	for (const char **n = (const char *[]){"d/file", "d/other", "d/symlink", "d/fifo", 0}; *n; n++)
		unlinkat(at, *n, 0);
	unlinkat(at, "d", AT_REMOVEDIR);
}

/* bind mounts top/from on top/to. */
static int bind_top(const char *from, const char *to)
{
	char a[4096], b[4096];
	in_top(a, from);
	in_top(b, to);
	mkdir(b, 0755);
	return mount(a, b, 0, MS_BIND, 0);
}

static int unmount_top(const char *name, int flags)
{
	char b[4096];
	in_top(b, name);
	return umount2(b, flags);
}

static void writable_states(int at)
{
	use("as it is", make_set(at, 1));
	clear_set(at);

	struct set s = make_set(at, 1);
	clear_set(at);
	use("removed", s);

	mkdirat(at, "parent", 0755);
	int parent = openat(at, "parent", O_RDONLY | O_DIRECTORY);
	s = make_set(parent, 1);
	clear_set(parent);
	unlinkat(at, "parent", AT_REMOVEDIR);
	use("parent removed", s);
	object = "removed parent";
	describe(parent);
	entries(parent);
	close(parent);

	s = make_set(at, 1);
	renameat(at, "d", at, "renamed");
	use("renamed", s);
	renameat(at, "renamed", at, "d");
	clear_set(at);

	mkdirat(at, "parent", 0755);
	parent = openat(at, "parent", O_RDONLY | O_DIRECTORY);
	s = make_set(parent, 1);
	mkdirat(at, "else", 0755);
	renameat(at, "parent", at, "else/where");
	use("parent renamed", s);
	clear_set(parent);
	close(parent);
	unlinkat(at, "else/where", AT_REMOVEDIR);
	unlinkat(at, "else", AT_REMOVEDIR);

	s = make_set(at, 1);
	close(openat(at, "d2", O_CREAT | O_RDWR, 0600));
	close(openat(at, "d3", O_CREAT | O_RDWR, 0600));
	renameat(at, "d2", at, "d/file");
	renameat(at, "d3", at, "d/symlink");
	use("replaced", s);
	clear_set(at);
}

static void mount_states(int at)
{
	char b[4096];
	state = "mounts", object = "bind";
	mkdirat(at, "source", 0755);
	if (SAY(bind_top("source", "bound")) < 0)
		return;
	in_top(b, "bound");
	int bound = open(b, O_RDONLY | O_DIRECTORY);
	use("below a bind mount", make_set(bound, 1));
	clear_set(bound);
	state = "mounts";
	SAY(unlinkat(at, "bound", AT_REMOVEDIR));
	SAY(renameat(at, "bound", at, "bound2"));
	SAY(renameat(bound, "d", at, "d"));
	SAY(unmount_top("bound", 0));

	struct set s = make_set(bound, 1);
	SAY(unmount_top("bound", MNT_DETACH));
	SAY(unmount_top("bound", MNT_DETACH));
	use("unmounted", s);
	clear_set(bound);
	s = make_set(bound, 1);
	clear_set(bound);
	use("unmounted and removed", s);
	close(bound);

	/* The source of a mount goes, with a file open below the mount. */
	bind_top("source", "bound");
	in_top(b, "bound");
	bound = open(b, O_RDONLY | O_DIRECTORY);
	unlinkat(at, "source", AT_REMOVEDIR);
	state = "source removed", object = "mount";
	describe(bound);
	entries(bound);
	close(bound);
	SAY(unmount_top("bound", 0));

	/* Another namespace has the mount when this one has not. */
	mkdirat(at, "source", 0755);
	bind_top("source", "bound");
	int go[2], done[2];
	char c;
	if (pipe(go) || pipe(done))
		die("pipe");
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		state = "another namespace", object = "mount";
		SAY(unshare(CLONE_NEWNS));
		mount(0, "/", 0, MS_REC | MS_PRIVATE, 0);
		in_top(b, "bound");
		int in = open(b, O_RDONLY | O_DIRECTORY);
		s = make_set(in, 1);
		if (write(done[1], "x", 1) != 1 || read(go[0], &c, 1) != 1)
			_exit(1);
		use("unmounted elsewhere", s);
		clear_set(in);
		s = make_set(in, 1);
		SAY(umount2(b, MNT_DETACH));
		use("unmounted in another namespace", s);
		clear_set(in);
		fflush(stdout);
		_exit(0);
	}
	if (read(done[0], &c, 1) != 1)
		die("the other namespace");
	state = "mounts", object = "bind";
	SAY(unmount_top("bound", MNT_DETACH));
	fflush(stdout);
	if (write(go[1], "x", 1) != 1)
		die("go");
	int status;
	waitpid(child, &status, 0);
	printf("the other namespace ended with %d\n", status);
	/* A directory that another namespace has mounted on can go. */
	SAY(unlinkat(at, "bound", AT_REMOVEDIR));
	SAY(unlinkat(at, "source", AT_REMOVEDIR));

	mkdirat(at, "source", 0755);
	s = make_set(at, 1);
	bind_top("source", "bound");
	in_top(b, "bound");
	object = "read-only";
	SAY(mount(0, b, 0, MS_REMOUNT | MS_BIND | MS_RDONLY, 0));
	bound = open(b, O_RDONLY | O_DIRECTORY);
	state = "read-only mount";
	entries(bound);
	close(bound);
	unmount_top("bound", MNT_DETACH);
	object = "on a file";
	char f[4096];
	in_top(f, "d/file");
	in_top(b, "d/other");
	SAY(mount(f, b, 0, MS_BIND, 0));
	SAY(unlinkat(at, "d/other", 0));
	SAY(unlinkat(at, "d/file", 0));
	use("mounted on a file", s);
	SAY(umount2(b, 0));
	clear_set(at);
	unlinkat(at, "bound", AT_REMOVEDIR);
	unlinkat(at, "source", AT_REMOVEDIR);

	/* A working directory that is gone. */
	mkdirat(at, "cwd", 0755);
	int cwd = openat(at, "cwd", O_RDONLY | O_DIRECTORY);
	state = "working directory removed", object = "path";
	if (fchdir(cwd) == 0 && unlinkat(at, "cwd", AT_REMOVEDIR) == 0) {
		struct stat st;
		struct statfs sf;
		SAY(syscall(SYS_getcwd, b, sizeof b));
		SAY(stat(".", &st));
		SAY(stat("..", &st));
		SAY(statfs(".", &sf));
		SAY(open("x", O_CREAT | O_RDWR, 0600));
		SAY(mkdir("x", 0700));
		SAY(chdir("."));
		SAY(rename(".", "x"));
		SAY(readlink("/proc/self/cwd", b, sizeof b));
		TRY(open("/proc/self/cwd", O_RDONLY));
		TRY(open("/proc/self/cwd/..", O_RDONLY));
		SAY(mount(".", "/tmp", 0, MS_BIND, 0));
		SAY(chroot("."));
		SAY(stat("/", &st));
	}
}

int main(int argc, char **argv)
{
	setvbuf(stdout, 0, _IOFBF, 1 << 16);
	if (argc < 2 || !realpath(argv[1], top))
		die("DIRECTORY");
	struct sigaction sa = {.sa_handler = on_fault, .sa_flags = SA_NODEFER};
	sigaction(SIGBUS, &sa, 0);
	sigaction(SIGSEGV, &sa, 0);
	signal(SIGPIPE, SIG_IGN);
	umask(022);
	int at = open(top, O_RDONLY | O_DIRECTORY);
	if (at < 0)
		die(top);
	if (argc > 2) {
		use("not writable", make_set(at, 0));
		return 0;
	}
	writable_states(at);
	mount_states(at);
	printf("all done\n");
	return 0;
}
