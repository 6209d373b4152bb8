// files checks the file system calls in /tmp, and /dev and /proc as programs
// use them.

#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <unistd.h>
#include "check.h"

static void write_text(const char *name, const char *text)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) && close(fd) == 0);
}

static int holds(const char *name, const char *text)
{
	char buf[256];
	int fd = open(name, O_RDONLY);
	ssize_t n = read(fd, buf, sizeof buf);

	CHECK(fd >= 0 && n >= 0 && close(fd) == 0);
	return (size_t)n == strlen(text) && memcmp(buf, text, n) == 0;
}

static int entries(const char *dir)
{
	DIR *d = opendir(dir);
	int n = 0;

	CHECK(d);
	while (readdir(d))
		n++;
	CHECK(closedir(d) == 0);
	return n - 2; // . and ..
}

static void names(void)
{
	struct stat st, st2;
	char target[64];

	CHECK(mkdir("d", 0700) == 0 && mkdir("d", 0700) == -1 && errno == EEXIST);
	write_text("d/a", "one");
	CHECK(link("d/a", "d/b") == 0 && symlink("a", "d/c") == 0);
	CHECK(stat("d/a", &st) == 0 && stat("d/c", &st2) == 0);
	CHECK(st.st_nlink == 2 && st.st_ino == st2.st_ino && st.st_size == 3);
	CHECK(readlink("d/c", target, sizeof target) == 1 && target[0] == 'a');
	CHECK(lstat("d/c", &st) == 0 && S_ISLNK(st.st_mode));
	CHECK(entries("d") == 3);
	CHECK(rename("d/b", "d/a2") == 0 && holds("d/a2", "one"));
	write_text("d/x", "two");
	CHECK(rename("d/x", "d/a2") == 0 && holds("d/a2", "two") && holds("d/a", "one"));
	CHECK(rmdir("d") == -1 && errno == ENOTEMPTY);
	CHECK(unlink("d/a") == 0 && unlink("d/a2") == 0 && unlink("d/c") == 0 && rmdir("d") == 0);
	for (int i = 0; i < 300; i++) {
		char name[32];
		snprintf(name, sizeof name, "n%d", i);
		write_text(name, name);
	}
	CHECK(entries(".") == 300);
}

static void contents(void)
{
	char buf[64];
	struct stat st;
	int fd = open("f", O_RDWR | O_CREAT | O_EXCL, 0644), fd2, out;

	CHECK(fd >= 0 && open("f", O_RDWR | O_CREAT | O_EXCL, 0644) == -1 && errno == EEXIST);
	struct iovec v[2] = { { "abc", 3 }, { "defg", 4 } };
	CHECK(writev(fd, v, 2) == 7 && lseek(fd, 0, SEEK_END) == 7);
	CHECK(pwrite(fd, "Z", 1, 1 << 20) == 1 && fstat(fd, &st) == 0 && st.st_size == (1 << 20) + 1);
	CHECK(pread(fd, buf, 10, 5) == 10 && memcmp(buf, "fg\0\0\0\0\0\0\0\0", 10) == 0);
	CHECK(ftruncate(fd, 3) == 0 && pread(fd, buf, 10, 0) == 3);
	fd2 = open("f", O_WRONLY | O_APPEND);
	CHECK(fd2 >= 0 && write(fd2, "!", 1) == 1 && pread(fd, buf, 10, 0) == 4 && buf[3] == '!');
	CHECK(flock(fd, LOCK_EX) == 0 && flock(fd2, LOCK_EX | LOCK_NB) == -1 && errno == EWOULDBLOCK);
	out = open("g", O_RDWR | O_CREAT, 0600);
	off_t off = 0;
	CHECK(sendfile(out, fd, &off, 100) == 4 && holds("g", "abc!"));
	// An unlinked file lives as long as it is open.
	CHECK(unlink("f") == 0 && pread(fd, buf, 10, 0) == 4);
	CHECK(close(fd) == 0 && close(fd2) == 0 && close(out) == 0 && unlink("g") == 0);
	fd = open("h", O_RDWR | O_CREAT, 0600);
	CHECK(fallocate(fd, 0, 0, 8192) == 0 && close(fd) == 0);
	CHECK(stat("h", &st) == 0 && st.st_size == 8192 && unlink("h") == 0);
}

static void metadata(void)
{
	struct stat st;
	struct timespec ts[2] = { { 1000, 5 }, { 2000, 7 } };
	struct statfs fs;

	write_text("m", "");
	CHECK(chmod("m", 0640) == 0 && utimensat(AT_FDCWD, "m", ts, 0) == 0);
	CHECK(stat("m", &st) == 0 && (st.st_mode & 0777) == 0640 && st.st_mtim.tv_sec == 2000);
	CHECK(access("m", R_OK) == 0 && access("missing", F_OK) == -1 && errno == ENOENT);
	CHECK(statfs("/tmp", &fs) == 0 && fs.f_bsize > 0);
	umask(077);
	write_text("m2", "");
	CHECK(stat("m2", &st) == 0 && (st.st_mode & 0777) == 0600);
}

static void special(void)
{
	unsigned char a[32], b[32] = { 0 };
	char line[256];
	int fd = open("/dev/null", O_RDWR);

	CHECK(fd >= 0 && write(fd, "x", 1) == 1 && read(fd, a, 1) == 0 && close(fd) == 0);
	fd = open("/dev/zero", O_RDONLY);
	CHECK(fd >= 0 && read(fd, a, 32) == 32 && memcmp(a, b, 32) == 0 && close(fd) == 0);
	fd = open("/dev/urandom", O_RDONLY);
	CHECK(fd >= 0 && read(fd, a, 32) == 32 && memcmp(a, b, 32) != 0 && close(fd) == 0);
	CHECK(getrandom(b, 32, 0) == 32 && memcmp(a, b, 32) != 0);
	struct stat st;
	for (fd = 0; fd < 3; fd++) // cat(1) does this before it copies anything
		CHECK(fstat(fd, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode));
	FILE *f = fopen("/proc/self/status", "r");
	CHECK(f && fgets(line, sizeof line, f) && strcmp(line, "Name:\tfiles\n") == 0 && fclose(f) == 0);
	f = fopen("/proc/meminfo", "r");
	CHECK(f && fgets(line, sizeof line, f) && strncmp(line, "MemTotal:", 9) == 0 && fclose(f) == 0);
	f = fopen("/proc/self/maps", "r");
	int stack = 0;
	CHECK(f);
	while (fgets(line, sizeof line, f))
		stack |= strstr(line, "[stack]") != NULL;
	CHECK(stack && fclose(f) == 0);
	CHECK(entries("/proc/self/task") == 1);
	int open_fds = entries("/proc/self/fd");
	CHECK(open("/dev/null", O_RDONLY) >= 0 && entries("/proc/self/fd") == open_fds + 1);
}

int main(void)
{
	char dir[] = "/tmp/files.XXXXXX";

	CHECK(mkdtemp(dir) && chdir(dir) == 0);
	names();
	contents();
	metadata();
	special();
	puts("files: ok");
	return 0;
}
