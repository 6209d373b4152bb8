// O_PATH, mknod(2), link(2) of others' files, handles, statfs(2), directories.
#include "print.h"
#include <dirent.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/xattr.h>

static const char *type(mode_t m) {
	return S_ISREG(m) ? "file" : S_ISDIR(m) ? "directory" : S_ISLNK(m) ? "link" : S_ISFIFO(m) ? "fifo" : S_ISSOCK(m) ? "socket" : S_ISCHR(m) ? "char" : S_ISBLK(m) ? "block" : "none";
}

static void opath(void) {
	char b[4096];
	struct stat st;
	struct statfs fs;
	int f = open("file", O_PATH), d = open("dir", O_PATH), l = open("link", O_PATH | O_NOFOLLOW), x;
	PRINT(read(f, b, 1));
	PRINT(write(f, b, 1));
	PRINT(pread(f, b, 1, 0));
	PRINT(lseek(f, 0, SEEK_SET));
	PRINT(ftruncate(f, 0));
	PRINT(fchmod(f, 0600));
	PRINT(fchown(f, 0, 0));
	PRINT(futimens(f, 0));
	PRINT(fsync(f));
	PRINT(ioctl(f, FIONREAD, &x));
	PRINT(mmap(0, 4096, PROT_READ, MAP_PRIVATE, f, 0) != MAP_FAILED);
	PRINT(fstat(f, &st));
	PRINT(fstatfs(f, &fs));
	PRINT(fcntl(f, F_GETFD));
	PRINT(fcntl(f, F_GETFL) & O_PATH);
	PRINT(fcntl(f, F_SETFL, O_NONBLOCK));
	PRINT(fcntl(f, F_SETFD, FD_CLOEXEC));
	PRINT(fcntl(f, F_GETLK, &(struct flock){.l_type = F_RDLCK}));
	OK(dup(f));
	OK(fcntl(f, F_DUPFD, 0));
	PRINT(fchdir(f));
	PRINT(fgetxattr(f, "user.a", b, 10));
	PRINT(poll(&(struct pollfd){.fd = f, .events = POLLIN}, 1, 0));
	PRINT(syscall(SYS_getdents64, d, b, sizeof b));
	OK(openat(d, "inside", O_RDONLY));
	OK(openat(f, "x", O_RDONLY));
	OK(openat(d, ".", O_RDONLY));
	PRINT(readlinkat(l, "", b, sizeof b));
	PRINT(fstatat(l, "", &st, AT_EMPTY_PATH));
	SAY("the link", "%s", type(st.st_mode));
	PRINT(fchownat(l, "", 0, 0, AT_EMPTY_PATH));
	PRINT(faccessat(f, "", R_OK, AT_EMPTY_PATH));
	PRINT(linkat(f, "", AT_FDCWD, "linked", AT_EMPTY_PATH));
	PRINT(unlink("linked"));
	char p[64];
	snprintf(p, sizeof p, "/proc/self/fd/%d", f);
	OK(open(p, O_RDWR));
	PRINT(chmod(p, 0640));
	PRINT(truncate(p, 3));
	snprintf(p, sizeof p, "/proc/self/fd/%d", l);
	OK(open(p, O_RDONLY));
	PRINT(flistxattr(f, b, 10));
	PRINT(readv(f, &(struct iovec){b, 1}, 1));
	PRINT(syscall(SYS_copy_file_range, f, 0, f, 0, 1, 0));
	PRINT(fdatasync(d));
	PRINT(fchdir(d));
	PRINT(chdir(".."));
}

static void nodes(void) {
	struct stat st;
	const struct { const char *name; mode_t mode; dev_t dev; } m[] = {
		{"n1", S_IFREG | 0644, 0}, {"n2", 0644, 0}, {"n3", S_IFIFO | 0600, 0}, {"n4", S_IFSOCK | 0755, 0}, {"n5", S_IFCHR | 0666, makedev(1, 3)}, {"n6", S_IFBLK | 0600, makedev(7, 99)}, {"n7", S_IFDIR | 0755, 0}, {"n8", S_IFLNK | 0777, 0}, {"n9", 0030000 | 0644, 0}, {"n1", S_IFREG | 0644, 0},
	};
	for (unsigned i = 0; i < sizeof m / sizeof *m; i++) {
		char what[100];
		snprintf(what, sizeof what, "mknod %u %o", i, m[i].mode);
		errno = 0;
		int r = mknod(m[i].name, m[i].mode, m[i].dev);
		result(what, r);
		if (r == 0) {
			lstat(m[i].name, &st);
			strcat(what, ", stat");
			SAY(what, "%s %o %u:%u", type(st.st_mode), st.st_mode & 07777, major(st.st_rdev), minor(st.st_rdev));
		}
	}
	int f = open("n5", O_RDWR);
	PRINT(write(f, "x", 1));
	PRINT(read(f, (char[1]){0}, 1));
	OK(open("n4", O_RDONLY));
	if (fork() == 0) {
		setuid(1000);
		PRINT(mknod("pub/c", S_IFCHR | 0600, makedev(1, 3)));
		PRINT(mknod("pub/f", S_IFIFO | 0600, 0));
		PRINT(mknod("pub/r", S_IFREG | 0600, 0));
		PRINT(mknod("pub/s", S_IFSOCK | 0600, 0));
		_exit(0);
	}
	wait(0);
}

static void directory(void) {
	mkdir("many", 0755);
	char n[300];
	for (int i = 0; i < 300; i++) {
		snprintf(n, sizeof n, "many/%03d", i);
		close(open(n, O_CREAT | O_WRONLY, 0600));
	}
	DIR *d = opendir("many");
	int count = 0, types = 0;
	long at[303];
	char names[303][16];
	for (struct dirent *e; at[count] = telldir(d), (e = readdir(d)); count++) {
		snprintf(names[count], 16, "%s", e->d_name);
		types += e->d_type == DT_REG;
	}
	SAY("entries", "%d, files %d", count, types);
	int wrong = 0;
	for (int i = 301; i >= 0; i -= 7) {
		seekdir(d, at[i]);
		struct dirent *e = readdir(d);
		wrong += !e || strcmp(e->d_name, names[i]);
	}
	SAY("seekdir", "%d wrong", wrong);
	rewinddir(d);
	int seen = 0;
	for (struct dirent *e; (e = readdir(d));) {
		if (e->d_name[0] == '.')
			continue;
		seen++;
		snprintf(n, sizeof n, "many/%s", e->d_name);
		unlink(n);
	}
	SAY("removed while reading", "%d", seen);
	closedir(d);
	PRINT(rmdir("many"));
	int f = open("dir", O_RDONLY);
	char b[4096];
	PRINT(syscall(SYS_getdents64, f, b, 10));
	PRINT(syscall(SYS_getdents64, f, b, 0));
	PRINT(syscall(SYS_getdents64, f, b, sizeof b) > 0);
	PRINT(syscall(SYS_getdents64, f, b, sizeof b));
	PRINT(lseek(f, 0, SEEK_SET));
	PRINT(read(f, b, 1));
	PRINT(pread(f, b, 1, 0));
	PRINT(write(f, b, 1));
	PRINT(ftruncate(f, 0));
	mkdir("gone", 0755);
	int g = open("gone", O_RDONLY);
	rmdir("gone");
	PRINT(syscall(SYS_getdents64, g, b, sizeof b));
	OK(openat(g, "x", O_CREAT | O_WRONLY, 0600));
	PRINT(mkdirat(g, "x", 0700));
	PRINT(fchdir(g));
	PRINT(getcwd(b, sizeof b) == 0);
	PRINT(chdir(".."));
	struct stat st;
	fstat(g, &st);
	SAY("links of a directory that is gone", "%d", (int)st.st_nlink);
	PRINT(syscall(SYS_getdents64, open("file", O_RDONLY), b, sizeof b));
}

static void truncations(void) {
	int s = socket(AF_UNIX, SOCK_STREAM, 0), p[2], f = open("file", O_RDONLY), w = open("file", O_WRONLY), e = syscall(SYS_eventfd2, 0, 0);
	pipe(p);
	PRINT(ftruncate(s, 0));
	PRINT(ftruncate(p[1], 0));
	PRINT(ftruncate(p[0], 0));
	PRINT(ftruncate(f, 0));
	PRINT(ftruncate(w, -1));
	PRINT(ftruncate(s, -1));
	PRINT(ftruncate(99, 0));
	PRINT(ftruncate(e, 0));
	PRINT(ftruncate(open("/dev/null", O_WRONLY), 0));
	PRINT(truncate("fifo", 0));
	PRINT(truncate("dir", 0));
	PRINT(truncate("file", -1));
	PRINT(truncate("/dev/null", 0));
	PRINT(fsync(s));
	PRINT(fsync(p[0]));
	PRINT(fdatasync(e));
	PRINT(syncfs(w));
	PRINT(posix_fadvise(f, 0, 0, POSIX_FADV_WILLNEED));
	PRINT(posix_fadvise(p[0], 0, 0, POSIX_FADV_NORMAL));
	PRINT(posix_fadvise(f, 0, 0, 99));
	PRINT(posix_fadvise(f, 0, -1, 0));
	PRINT(readahead(f, 0, 4096));
	PRINT(readahead(p[0], 0, 4096));
	PRINT(readahead(w, 0, 4096));
	PRINT(sync_file_range(w, 0, 0, SYNC_FILE_RANGE_WRITE));
	PRINT(sync_file_range(p[0], 0, 0, 0));
	PRINT(sync_file_range(w, -1, 0, 0));
	PRINT(sync_file_range(w, 0, 0, 99));
	struct statfs fs;
	statfs(".", &fs);
	SAY("statfs", "name %ld, blocks %s, free %s, block size %s", fs.f_namelen, fs.f_blocks > 0 ? "some" : "none", fs.f_bfree <= fs.f_blocks && fs.f_bavail <= fs.f_bfree ? "at most that" : "more", fs.f_bsize > 0 && (fs.f_bsize & (fs.f_bsize - 1)) == 0 ? "a power" : "odd");
	char name[300];
	memset(name, 'n', 255);
	name[255] = 0;
	OK(open(name, O_CREAT | O_WRONLY, 0600));
	unlink(name);
	name[255] = 'n';
	name[256] = 0;
	OK(open(name, O_CREAT | O_WRONLY, 0600));
	PRINT(mkdir(name, 0700));
	PRINT(symlink(name, "longlink"));
	PRINT(symlink("x", name));
	PRINT(link("file", name));
	PRINT(rename("file", name));
}

int main(void) {
	umask(022);
	int f = open("file", O_CREAT | O_RDWR, 0644);
	write(f, "content", 7);
	mkdir("dir", 0755);
	close(open("dir/inside", O_CREAT | O_RDWR, 0644));
	symlink("file", "link");
	mkfifo("fifo", 0644);
	mkdir("pub", 0777);
	chmod("pub", 0777);
	opath();
	nodes();
	directory();
	truncations();
	return 0;
}
