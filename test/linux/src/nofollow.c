// Links that an open must not follow: openat2 with RESOLVE_*, directories that
// others swap for links, and what relies on that.
#include "print.h"
#include <linux/openat2.h>
#include <sys/xattr.h>

static int dir;

static long open2(const char *path, uint64_t flags, uint64_t resolve) {
	struct open_how how = {.flags = flags, .resolve = resolve};
	return syscall(SYS_openat2, dir, path, &how, sizeof how);
}

static void try(const char *path, uint64_t flags, const char *names) {
	static const struct { const char *name; uint64_t flag; } all[] = {
		{"none", 0}, {"BENEATH", RESOLVE_BENEATH}, {"IN_ROOT", RESOLVE_IN_ROOT}, {"NO_SYMLINKS", RESOLVE_NO_SYMLINKS},
		{"NO_MAGICLINKS", RESOLVE_NO_MAGICLINKS}, {"NO_XDEV", RESOLVE_NO_XDEV}, {"BENEATH|IN_ROOT", RESOLVE_BENEATH | RESOLVE_IN_ROOT},
		{"BENEATH|NO_SYMLINKS", RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS}};
	for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
		char what[200];
		snprintf(what, sizeof what, "%s %s, %s", path, names, all[i].name);
		long fd = open2(path, flags, all[i].flag);
		result(what, fd < 0 ? -1 : 0);
		if (fd >= 0)
			close(fd);
	}
}

static void arguments(void) {
	struct open_how how = {.flags = O_DIRECTORY | O_NOFOLLOW};
	struct { struct open_how how; uint64_t more; } big = {.how = how};
	OK(syscall(SYS_openat2, dir, "real", &how, sizeof how));
	OK(syscall(SYS_openat2, dir, "real", &how, sizeof how - 1));
	OK(syscall(SYS_openat2, dir, "real", &big, sizeof big));
	big.more = 1;
	OK(syscall(SYS_openat2, dir, "real", &big, sizeof big));
	OK(syscall(SYS_openat2, dir, "real", &big, 5000));
	OK(syscall(SYS_openat2, dir, "real", (void *)8, sizeof how));
	OK(syscall(SYS_openat2, 77, "real", &how, sizeof how));
	OK(syscall(SYS_openat2, dir, "", &how, sizeof how));
	how.resolve = 1 << 20;
	OK(syscall(SYS_openat2, dir, "real", &how, sizeof how));
	how.resolve = 0;
	how.mode = 0600;
	OK(syscall(SYS_openat2, dir, "real", &how, sizeof how));
	how.mode = 0;
	how.flags |= 1ull << 40;
	OK(syscall(SYS_openat2, dir, "real", &how, sizeof how));
	OK(openat(77, "link", O_DIRECTORY | O_NOFOLLOW));
	OK(openat(dir, "link", O_DIRECTORY | O_NOFOLLOW));
	OK(openat(dir, "link/.", O_DIRECTORY | O_NOFOLLOW));
	OK(openat(dir, "link/", O_DIRECTORY | O_NOFOLLOW));
	OK(openat(dir, "link/sub", O_DIRECTORY | O_NOFOLLOW));
	OK(openat(dir, "link/up", O_DIRECTORY | O_NOFOLLOW));
	OK(openat(dir, ".", O_DIRECTORY | O_NOFOLLOW));
	OK(openat(dir, "", O_DIRECTORY | O_NOFOLLOW));
	OK(openat(dir, (void *)8, O_DIRECTORY | O_NOFOLLOW));
	OK(open("/", O_DIRECTORY | O_NOFOLLOW));
	OK(open("/proc/self", O_DIRECTORY | O_NOFOLLOW));
	OK(open("/proc/self/", O_DIRECTORY | O_NOFOLLOW));
	OK(open("/proc/self/cwd", O_DIRECTORY | O_NOFOLLOW));
	OK(open("/proc/self/fd", O_DIRECTORY | O_NOFOLLOW));
	OK(open("/dev/null", O_DIRECTORY | O_NOFOLLOW));
	OK(openat(dir, "real", O_DIRECTORY | O_NOFOLLOW | O_WRONLY));
	OK(openat(dir, "link", O_DIRECTORY | O_NOFOLLOW | O_WRONLY));
	int fd = openat(dir, "real", O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	SAY("close-on-exec and flags", "%d %#x", fcntl(fd, F_GETFD), fcntl(fd, F_GETFL) & ~(O_LARGEFILE | O_NOFOLLOW));
	close(fd);
	fd = openat(dir, "real", O_DIRECTORY | O_NOFOLLOW | O_PATH);
	OK(openat(fd, "sub", O_DIRECTORY | O_NOFOLLOW));
	char byte;
	PRINT(read(fd, &byte, 1));
	close(fd);
}

// swapped lets another thread swap a directory for a link while this one opens
// it: it must never get what the link points to.
static volatile int done;

static void *swap(void *unused) {
	(void)unused;
	while (!done) {
		renameat(dir, "victim", dir, "aside");
		symlinkat("secret", dir, "victim");
		sched_yield();
		unlinkat(dir, "victim", 0);
		renameat(dir, "aside", dir, "victim");
		sched_yield();
	}
	return 0;
}

static void swapped(void) {
	struct stat secret, got;
	pthread_t t;
	long followed = 0;
	mkdirat(dir, "victim", 0755);
	mkdirat(dir, "secret", 0755);
	fstatat(dir, "secret", &secret, 0);
	pthread_create(&t, 0, swap, 0);
	time_t until = time(0) + 2;
	for (int i = 0; i < 2000 && time(0) < until; i++) {
		int fd = openat(dir, "victim", O_DIRECTORY | O_NOFOLLOW);
		if (fd < 0)
			continue;
		fstat(fd, &got);
		followed += got.st_ino == secret.st_ino;
		close(fd);
	}
	done = 1;
	pthread_join(t, 0);
	SAY("links followed", "%ld", followed);
}

int main(void) {
	mkdir("real", 0755);
	mkdir("real/sub", 0755);
	mkdir("above", 0755);
	symlink("real", "link");
	symlink("/proc", "absolute");
	symlink("..", "parent");
	symlink("../../..", "real/up");
	symlink("sub", "real/link");
	symlink("missing", "dangling");
	close(open("file", O_CREAT | O_WRONLY, 0644));
	dir = open(".", O_RDONLY | O_DIRECTORY);
	static const char *paths[] = {"real", "link", "link/", "link/sub", "real/link", "real/link/", "absolute", "/proc", "parent", "..", "real/..", "real/../..", "real/up", "real/up/", "dangling", "file", "file/", "."};
	for (unsigned i = 0; i < sizeof paths / sizeof *paths; i++) {
		try(paths[i], O_RDONLY, "RDONLY");
		try(paths[i], O_DIRECTORY, "DIRECTORY");
		try(paths[i], O_DIRECTORY | O_NOFOLLOW, "DIRECTORY|NOFOLLOW");
		try(paths[i], O_PATH | O_NOFOLLOW, "PATH|NOFOLLOW");
	}
	arguments();
	swapped();
	return 0;
}
