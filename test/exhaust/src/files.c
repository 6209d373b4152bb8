// Modes that fill file systems: tmpfs, the root's layer in memory, and ext4 on
// a volume.

#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/xattr.h>
#include "mode.h"

// make opens a new file or holds.
static int make(const char *path)
{
	int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		hold("open");
	return fd;
}

static void fill(const char *path)
{
	for (int fd = make(path);; ++*made)
		if (write(fd, block, MB) <= 0)
			hold("write");
}

static void tmpfs_write(void) { fill("/dev/shm/file"); }
static void root_write(void) { fill("/work/file"); }
static void ext4_write(void) { fill("/data/file"); }

// fill_until writes to a new file until there is an error.
static void fill_until(const char *path)
{
	int fd = make(path);
	while (write(fd, block, MB) > 0)
		++*made;
	close(fd);
}

// tmpfs_all fills all that there are: each has a bound, and their sum is more
// than the machine has.
static void tmpfs_all(void)
{
	fill_until("/dev/shm/file");
	fill_until("/tmp/file");
	fill_until("/run/file");
	fill("/work/file");
}

static void tmpfs_map(void)
{
	int fd = make("/dev/shm/map");
	for (off_t at = 0;; at += MB, ++*made) {
		if (fallocate(fd, 0, at, MB) != 0)
			hold("fallocate");
		char *p = mmap(NULL, MB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, at);
		if (p == MAP_FAILED)
			hold("mmap");
		touch(p, MB);
	}
}

static void small_files(const char *format, size_t size)
{
	for (;; ++*made) {
		int fd = make(numbered(format, *made));
		if (size && write(fd, block, size) <= 0)
			hold("write");
		close(fd);
	}
}

static void tmpfs_files(void) { small_files("/dev/shm/%ld", 100); }
static void tmpfs_empty(void) { small_files("/tmp/%ld", 0); }
static void root_files(void) { small_files("/work/%ld", 100); }
static void ext4_files(void) { small_files("/data/%ld", 100); }

static void unlinked(const char *path)
{
	for (;; ++*made) {
		int fd = make(path);
		if (write(fd, block, 100) <= 0)
			hold("write");
		unlink(path);
	}
}

static void tmpfs_unlinked(void) { unlinked("/dev/shm/unlinked"); }
static void ext4_unlinked(void) { unlinked("/data/unlinked"); }

static void deep(const char *top)
{
	if (chdir(top) != 0)
		hold("chdir");
	for (;; ++*made) {
		if (mkdir("d", 0700) != 0)
			hold("mkdir");
		if (chdir("d") != 0)
			hold("chdir");
	}
}

static void tmpfs_deep(void) { deep("/dev/shm"); }
static void root_deep(void) { deep("/work"); }

static void symlinks(void)
{
	char *target = block;
	memset(target, 'x', 4000);
	target[4000] = 0;
	for (;; ++*made)
		if (symlink(target, numbered("/dev/shm/%ld", *made)) != 0)
			hold("symlink");
}

static void symlink_loop(void)
{
	if (symlink("/dev/shm/b", "/dev/shm/a") != 0 || symlink("/dev/shm/a", "/dev/shm/b") != 0)
		hold("symlink");
	for (;; ++*made)
		if (open("/dev/shm/a", O_RDONLY) >= 0 || errno != ELOOP)
			hold("open");
}

static void xattrs(void)
{
	for (;; ++*made) {
		if (*made % 100 == 0)
			close(make(numbered("/dev/shm/%ld", *made / 100)));
		char name[32];
		snprintf(name, sizeof name, "user.%ld", *made);
		if (setxattr(numbered("/dev/shm/%ld", *made / 100), name, block, 4000, 0) != 0)
			hold("setxattr");
	}
}

static void missing(const char *format)
{
	struct stat st;
	for (;; ++*made)
		if (stat(numbered(format, *made), &st) == 0 || errno != ENOENT)
			hold("stat");
}

static void missing_tmpfs(void) { missing("/dev/shm/a-name-that-is-not-there-%ld"); }
static void missing_root(void) { missing("/a-name-that-is-not-there-%ld"); }
static void missing_ext4(void) { missing("/data/a-name-that-is-not-there-%ld"); }
static void missing_proc(void) { missing("/proc/a-name-that-is-not-there-%ld"); }

// existing looks up many names that are there, on a volume.
static void existing(void)
{
	enum { COUNT = 3000 };
	for (long i = 0; i < COUNT; i++)
		close(make(numbered("/data/%ld", i)));
	struct stat st;
	for (;; ++*made)
		if (stat(numbered("/data/%ld", *made % COUNT), &st) != 0)
			hold("stat");
}

static void mounts(void)
{
	if (unshare(CLONE_NEWNS) != 0)
		hold("unshare");
	for (;; ++*made) {
		const char *path = numbered("/work/%ld", *made);
		if (mkdir(path, 0700) != 0)
			hold("mkdir");
		if (mount("none", path, "tmpfs", 0, NULL) != 0)
			hold("mount");
	}
}

static void bind_mounts(void)
{
	if (unshare(CLONE_NEWNS) != 0)
		hold("unshare");
	for (;; ++*made)
		if (mount("/dev/shm", "/tmp", NULL, MS_BIND, NULL) != 0)
			hold("mount");
}

// mounts_filled has the size of each mount bounded, and their number not.
static void mounts_filled(void)
{
	if (unshare(CLONE_NEWNS) != 0)
		hold("unshare");
	for (;;) {
		char path[64];
		snprintf(path, sizeof path, "/work/%ld", *made);
		mkdir(path, 0700);
		if (mount("none", path, "tmpfs", 0, "size=4m") != 0)
			hold("mount");
		strcat(path, "/file");
		fill_until(path);
		++*made;
	}
}

static void send_files(void)
{
	int from = make("/data/from");
	if (write(from, block, MB) != (ssize_t)MB)
		hold("write");
	for (int to = memfd_create("to", 0);; ++*made) {
		off_t at = 0;
		if (sendfile(to, from, &at, MB) <= 0)
			hold("sendfile");
	}
}

static void copy_ranges(void)
{
	int from = make("/dev/shm/from"), to = make("/dev/shm/to");
	if (write(from, block, MB) != (ssize_t)MB)
		hold("write");
	for (;; ++*made) {
		off_t at = 0;
		if (copy_file_range(from, &at, to, NULL, MB, 0) <= 0)
			hold("copy_file_range");
	}
}

// ext4_dirty makes pages dirty faster than they can be written back.
static void ext4_dirty(void)
{
	int fd = make("/data/dirty");
	if (ftruncate(fd, 40 * MB) != 0)
		hold("ftruncate");
	for (;; ++*made)
		if (pwrite(fd, block, PAGE, (*made * 7919) % 10240 * PAGE) <= 0)
			hold("pwrite");
}

static void flocks(void)
{
	for (;; ++*made) {
		int fd = make(numbered("/tmp/%ld", *made));
		if (flock(fd, LOCK_EX) != 0)
			hold("flock");
	}
}

static void lock_ranges(int command)
{
	for (int fd = make("/tmp/ranges");; ++*made) {
		struct flock l = {.l_type = F_WRLCK, .l_start = *made * 2, .l_len = 1};
		if (fcntl(fd, command, &l) != 0)
			hold("fcntl");
	}
}

static void posix_locks(void) { lock_ranges(F_SETLK); }
static void ofd_locks(void) { lock_ranges(F_OFD_SETLK); }

const struct mode file_modes[] = {
	{"tmpfs-write", tmpfs_write},
	{"tmpfs-all", tmpfs_all},
	{"tmpfs-map", tmpfs_map},
	{"tmpfs-files", tmpfs_files},
	{"tmpfs-empty", tmpfs_empty},
	{"tmpfs-unlinked", tmpfs_unlinked},
	{"tmpfs-deep", tmpfs_deep},
	{"root-write", root_write},
	{"root-files", root_files},
	{"root-deep", root_deep},
	{"ext4-write", ext4_write},
	{"ext4-files", ext4_files},
	{"ext4-unlinked", ext4_unlinked},
	{"ext4-dirty", ext4_dirty},
	{"symlinks", symlinks},
	{"symlink-loop", symlink_loop},
	{"xattrs", xattrs},
	{"missing-tmpfs", missing_tmpfs},
	{"missing-root", missing_root},
	{"missing-ext4", missing_ext4},
	{"missing-proc", missing_proc},
	{"existing", existing},
	{"mounts", mounts},
	{"bind-mounts", bind_mounts},
	{"mounts-filled", mounts_filled},
	{"sendfile", send_files},
	{"copy-range", copy_ranges},
	{"flock", flocks},
	{"fcntl-locks", posix_locks},
	{"ofd-locks", ofd_locks},
	{0},
};
