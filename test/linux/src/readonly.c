// Changes of a file system that is mounted read-only, and of one that is not but
// through a mount that is.
#include "print.h"
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <utime.h>

static void changes(void) {
	struct stat st;
	PRINT(stat("ro/file", &st));
	PRINT(chmod("ro/file", 0600));
	PRINT(chown("ro/file", 1, 1));
	PRINT(lchown("ro/link", 1, 1));
	PRINT(utimensat(AT_FDCWD, "ro/file", 0, 0));
	PRINT(utimensat(AT_FDCWD, "ro/link", 0, AT_SYMLINK_NOFOLLOW));
	PRINT(utime("ro/file", 0));
	PRINT(utimes("ro/file", 0));
	PRINT(futimesat(AT_FDCWD, "ro/file", 0));
	PRINT(truncate("ro/file", 0));
	PRINT(setxattr("ro/file", "user.a", "b", 1, 0));
	PRINT(lsetxattr("ro/link", "trusted.a", "b", 1, 0));
	PRINT(removexattr("ro/file", "user.a"));
	PRINT(chmod("ro/none", 0600));
	PRINT(chown("ro/none", 1, 1));
	PRINT(utime("ro/none", 0));
	PRINT(truncate("ro/dir", 0));
	PRINT(chmod("ro/dir", 0700));
	PRINT(unlink("ro/file"));
	PRINT(rmdir("ro/dir"));
	PRINT(mkdir("ro/new", 0700));
	PRINT(mkdir("ro/dir", 0700));
	PRINT(mknod("ro/new", S_IFIFO | 0600, 0));
	PRINT(symlink("file", "ro/new"));
	PRINT(link("ro/file", "ro/new"));
	PRINT(rename("ro/file", "ro/new"));
	PRINT(rename("ro/none", "ro/new"));
	OK(open("ro/file", O_RDONLY));
	OK(open("ro/file", O_RDWR));
	OK(open("ro/file", O_WRONLY | O_TRUNC));
	OK(open("ro/file", O_RDONLY | O_CREAT, 0600));
	OK(open("ro/new", O_RDONLY | O_CREAT, 0600));
	OK(open("ro", O_TMPFILE | O_RDWR, 0600));
	OK(open("ro/fifo", O_RDWR | O_NONBLOCK));
	PRINT(access("ro/file", R_OK));
	PRINT(access("ro/file", W_OK));
	PRINT(access("ro/dir", W_OK));
	PRINT(access("ro/fifo", W_OK));
	int f = open("ro/file", O_RDONLY);
	PRINT(fchmod(f, 0600));
	PRINT(fchown(f, 1, 1));
	PRINT(futimens(f, 0));
	PRINT(fsetxattr(f, "user.a", "b", 1, 0));
	PRINT(fremovexattr(f, "user.a"));
	close(f);
	f = open("ro/file", O_PATH);
	PRINT(fchownat(f, "", 1, 1, AT_EMPTY_PATH));
	close(f);
	f = open("ro/dir", O_RDONLY);
	PRINT(fchmod(f, 0700));
	PRINT(fsync(f));
	close(f);
	struct statvfs s;
	statvfs("ro", &s);
	SAY("statvfs", "%s", s.f_flag & ST_RDONLY ? "read only" : "not read only");
}

static void fill(const char *dir) {
	char p[100];
	snprintf(p, sizeof p, "%s/file", dir);
	int f = open(p, O_RDWR | O_CREAT, 0644);
	write(f, "content", 7);
	fsetxattr(f, "user.a", "a", 1, 0);
	close(f);
	snprintf(p, sizeof p, "%s/dir", dir);
	mkdir(p, 0755);
	snprintf(p, sizeof p, "%s/link", dir);
	symlink("file", p);
	snprintf(p, sizeof p, "%s/fifo", dir);
	mkfifo(p, 0644);
}

int main(void) {
	PRINT(unshare(CLONE_NEWNS));
	mount("", "/", "", MS_REC | MS_PRIVATE, 0);
	mkdir("ro", 0755);
	PRINT(mount("tmpfs", "ro", "tmpfs", 0, ""));
	fill("ro");
	int f = open("ro/file", O_RDWR);
	PRINT(mount("", "ro", "", MS_REMOUNT | MS_RDONLY, ""));
	PRINT(f >= 0);
	close(f);
	f = open("ro/fifo", O_RDWR);
	PRINT(mount("", "ro", "", MS_REMOUNT | MS_RDONLY, ""));
	changes();
	PRINT(umount("ro"));
	PRINT(mount("tmpfs", "ro", "tmpfs", MS_RDONLY, ""));
	OK(open("ro/new", O_RDWR | O_CREAT, 0600));
	PRINT(chmod("ro", 0700));
	PRINT(umount("ro"));

	mkdir("rw", 0755);
	fill("rw");
	PRINT(mount("rw", "ro", "", MS_BIND, ""));
	PRINT(mount("", "ro", "", MS_REMOUNT | MS_BIND | MS_RDONLY, ""));
	changes();
	PRINT(chmod("rw/file", 0640));
	PRINT(umount("ro"));
	return 0;
}
