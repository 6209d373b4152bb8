// Names with slashes behind them, in every call that takes one.
#include "print.h"
#include <sys/statfs.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <utime.h>

static const char *names[] = {"file", "file/", "dir", "dir/", "dir//", "dir/.", "dir/..", "tofile", "tofile/", "todir", "todir/", "none", "none/", "none//", "none/.", "nowhere", "nowhere/", "file/x", "none/x", "", ".", "..", "loop", "loop/"};

// make removes what a call may have made, and makes everything anew.
static void make(void) {
	static const char *all[] = {"file", "tofile", "todir", "none", "nowhere", "loop", "target", "missing", "dir/target", "dir"};
	for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
		if (unlink(all[i]))
			rmdir(all[i]);
	close(open("file", O_WRONLY | O_CREAT, 0644));
	mkdir("dir", 0755);
	symlink("file", "tofile");
	symlink("dir", "todir");
	symlink("missing", "nowhere");
	symlink("loop", "loop");
}

#define TRY(call) do { make(); errno = 0; long r_ = (long)(call); \
	snprintf(what, sizeof what, #call ", n %s", n); result(what, r_ < 0 ? r_ : 0); } while (0)

int main(void) {
	char what[200], b[100];
	struct stat st;
	struct statfs fs;
	for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
		const char *n = names[i];
		TRY(mkdir(n, 0755));
		TRY(rmdir(n));
		TRY(unlink(n));
		TRY(unlinkat(AT_FDCWD, n, 0));
		TRY(unlinkat(AT_FDCWD, n, AT_REMOVEDIR));
		TRY(mknod(n, S_IFREG | 0644, 0));
		TRY(mknod(n, S_IFIFO | 0644, 0));
		TRY(mknod(n, 0644, 0));
		TRY(symlink("file", n));
		TRY(link(n, "target"));
		TRY(link("file", n));
		TRY(linkat(AT_FDCWD, n, AT_FDCWD, "target", AT_SYMLINK_FOLLOW));
		TRY(rename(n, "target"));
		TRY(rename("file", n));
		TRY(rename("dir", n));
		TRY(rename(n, n));
		TRY(stat(n, &st));
		TRY(lstat(n, &st));
		TRY(access(n, R_OK));
		TRY(readlink(n, b, sizeof b));
		TRY(chmod(n, 0755));
		TRY(chown(n, 0, 0));
		TRY(lchown(n, 0, 0));
		TRY(truncate(n, 0));
		TRY(utimensat(AT_FDCWD, n, 0, 0));
		TRY(utimensat(AT_FDCWD, n, 0, AT_SYMLINK_NOFOLLOW));
		TRY(statfs(n, &fs));
		TRY(getxattr(n, "user.none", b, sizeof b));
		TRY(lgetxattr(n, "user.none", b, sizeof b));
		int cwd = open(".", O_PATH);
		TRY(chdir(n));
		fchdir(cwd);
		close(cwd);
		int fd;
		TRY(fd = open(n, O_RDONLY));
		close(fd);
		TRY(fd = open(n, O_WRONLY | O_CREAT, 0644));
		close(fd);
		TRY(fd = open(n, O_PATH | O_NOFOLLOW));
		close(fd);
	}
	return 0;
}
