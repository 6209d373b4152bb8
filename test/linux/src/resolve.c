// openat2(2): its checks, and RESOLVE_* on paths that leave in different ways.
#include "print.h"
#include <linux/openat2.h>

static int dir;

static void try(const char *path, int flags, int resolve) {
	struct open_how how = {.flags = flags, .resolve = resolve};
	char what[200];
	snprintf(what, sizeof what, "%s with %x%s", path, resolve, flags & O_PATH ? " O_PATH" : flags & O_CREAT ? " O_CREAT" : "");
	errno = 0;
	int fd = syscall(SYS_openat2, dir, path, &how, sizeof how);
	if (fd < 0) {
		SAY(what, "%s", strerrorname_np(errno));
	} else {
		struct stat st;
		fstat(fd, &st);
		SAY(what, "%s", S_ISDIR(st.st_mode) ? "a directory" : S_ISLNK(st.st_mode) ? "a link" : "a file");
		close(fd);
	}
}

static void call(const char *what, struct open_how *how, size_t size) {
	errno = 0;
	int fd = syscall(SYS_openat2, dir, "file", how, size);
	result(what, fd < 0 ? fd : 0);
	close(fd);
}

int main(void) {
	mkdir("d", 0755);
	mkdir("d/sub", 0755);
	dir = open("d", O_RDONLY);
	close(openat(dir, "file", O_CREAT | O_WRONLY, 0644));
	close(open("outside", O_CREAT | O_WRONLY, 0644));
	symlinkat("file", dir, "in");
	symlinkat("sub/../file", dir, "round");
	symlinkat("../outside", dir, "out");
	symlinkat("/", dir, "root");
	symlinkat("/file", dir, "rooted");
	symlinkat("loop", dir, "loop");
	symlinkat("/proc/self/exe", dir, "magic");
	symlinkat("/proc/self/root", dir, "magicroot");
	static const char *paths[] = {"file", "in", "round", "out", "root", "root/etc", "rooted", "loop", "magic", "magicroot", "sub", "sub/..", "sub/../file", "..", "../outside", "../d/file", "/", "/file", "/proc", "/proc/self/exe", "/proc/self/fd/0/", "/proc/self/root", ".", "", "none", "none/x"};
	static const int resolves[] = {0, RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS, RESOLVE_IN_ROOT | RESOLVE_NO_XDEV, RESOLVE_BENEATH | RESOLVE_IN_ROOT, 0x40, 0x1000};
	for (unsigned r = 0; r < sizeof resolves / sizeof *resolves; r++)
		for (unsigned p = 0; p < sizeof paths / sizeof *paths; p++) {
			try(paths[p], O_RDONLY, resolves[r]);
			try(paths[p], O_PATH | O_NOFOLLOW, resolves[r]);
		}
	struct open_how how = {0};
	struct { struct open_how how; uint64_t more[2]; } big = {0};
	call("plain", &how, sizeof how);
	call("too short", &how, 23);
	call("no size", &how, 0);
	call("longer, with zeros", &big.how, sizeof big);
	big.more[1] = 1;
	call("longer, with more", &big.how, sizeof big);
	call("too long", &big.how, 5000);
	how.flags = 1L << 40;
	call("unknown flags", &how, sizeof how);
	how.flags = O_RDONLY;
	how.mode = 0644;
	call("mode without O_CREAT", &how, sizeof how);
	how.flags = O_WRONLY | O_CREAT;
	call("mode with O_CREAT", &how, sizeof how);
	how.mode = 0170644;
	call("mode with a type", &how, sizeof how);
	how.mode = 010000;
	call("a bad mode", &how, sizeof how);
	how = (struct open_how){.flags = O_PATH | O_RDWR};
	call("O_PATH and O_RDWR", &how, sizeof how);
	how.flags = O_PATH | O_TRUNC;
	call("O_PATH and O_TRUNC", &how, sizeof how);
	how.flags = O_PATH | O_CLOEXEC | O_NOFOLLOW;
	call("O_PATH and what it may have", &how, sizeof how);
	how.flags = O_RDONLY | O_NOATIME | O_DIRECT;
	call("O_DIRECT", &how, sizeof how);
	return 0;
}
