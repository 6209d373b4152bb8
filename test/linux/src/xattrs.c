// Extended attributes: namespaces, flags, sizes, kinds of files, users.
#include "print.h"
#include <sys/xattr.h>

static void list(const char *what, const char *name) {
	char b[4096], line[500] = "";
	int n = listxattr(name, b, sizeof b);
	const char *known[] = {"user.a", "user.b", "user.empty", "trusted.a", "security.a", "security.capability", "system.posix_acl_access", "system.posix_acl_default"};
	for (unsigned k = 0; k < sizeof known / sizeof *known; k++)
		for (int i = 0; i < n; i += strlen(b + i) + 1)
			if (!strcmp(b + i, known[k])) {
				strcat(line, " ");
				strcat(line, known[k]);
			}
	SAY(what, "%s%s", n < 0 ? strerrorname_np(errno) : "", line);
}

static void on(const char *n) {
	char what[200], b[100];
#define T(call) do { errno = 0; snprintf(what, sizeof what, "%s: %s", n, #call); result(what, (call)); } while (0)
	T(setxattr(n, "user.a", "one", 3, 0));
	T(setxattr(n, "user.a", "two", 3, XATTR_CREATE));
	T(setxattr(n, "user.b", "two", 3, XATTR_REPLACE));
	T(setxattr(n, "user.a", "three", 5, XATTR_REPLACE));
	T(setxattr(n, "user.a", "three", 5, XATTR_REPLACE | XATTR_CREATE));
	T(setxattr(n, "user.a", "three", 5, 8));
	T(setxattr(n, "user.empty", "", 0, 0));
	T(getxattr(n, "user.a", b, sizeof b));
	T(getxattr(n, "user.a", b, 0));
	T(getxattr(n, "user.a", b, 3));
	T(getxattr(n, "user.empty", b, sizeof b));
	T(getxattr(n, "user.none", b, sizeof b));
	T(setxattr(n, "user.", "x", 1, 0));
	T(setxattr(n, "user", "x", 1, 0));
	T(setxattr(n, "", "x", 1, 0));
	T(setxattr(n, "other.a", "x", 1, 0));
	T(getxattr(n, "other.a", b, sizeof b));
	T(removexattr(n, "other.a"));
	T(setxattr(n, "trusted.a", "x", 1, 0));
	T(getxattr(n, "trusted.a", b, sizeof b));
	T(setxattr(n, "security.a", "x", 1, 0));
	T(getxattr(n, "security.a", b, sizeof b));
	T(getxattr(n, "security.none", b, sizeof b));
	T(setxattr(n, "security.capability", "\1\0\0\2\1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20, 0));
	T(getxattr(n, "security.capability", b, sizeof b));
	T(setxattr(n, "security.capability", "bad", 3, 0));
	T(setxattr(n, "system.a", "x", 1, 0));
	snprintf(what, sizeof what, "%s: list", n);
	list(what, n);
	T(removexattr(n, "security.capability"));
	T(removexattr(n, "security.a"));
	T(removexattr(n, "trusted.a"));
	T(removexattr(n, "user.empty"));
	T(removexattr(n, "user.none"));
	T(removexattr(n, "user.a"));
	snprintf(what, sizeof what, "%s: list after", n);
	list(what, n);
}

int main(void) {
	char big[70000], name[300];
	memset(big, 'x', sizeof big);
	close(open("file", O_CREAT | O_RDWR, 0644));
	mkdir("dir", 0755);
	symlink("file", "link");
	symlink("none", "broken");
	mkfifo("fifo", 0644);
	on("file");
	on("dir");
	on("link");
	on("fifo");
	on("none");
	on("broken");
	PRINT(lsetxattr("link", "user.a", "x", 1, 0));
	PRINT(lsetxattr("link", "trusted.a", "x", 1, 0));
	PRINT(lgetxattr("link", "trusted.a", big, 10));
	PRINT(lremovexattr("link", "trusted.a"));
	PRINT(setxattr("file", "user.big", big, 65537, 0));
	PRINT(setxattr("file", "user.half", big, 500, 0));
	PRINT(getxattr("file", "user.half", big, 70000));
	memset(name, 'n', sizeof name);
	memcpy(name, "user.", 5);
	name[255] = 0;
	PRINT(setxattr("file", name, "x", 1, 0));
	name[255] = 'n';
	name[256] = 0;
	PRINT(setxattr("file", name, "x", 1, 0));
	PRINT(listxattr("file", big, 3));
	PRINT(listxattr("file", 0, 0) > 0);
	int f = open("file", O_RDONLY), p = open("file", O_PATH);
	PRINT(fsetxattr(f, "user.f", "x", 1, 0));
	PRINT(fgetxattr(f, "user.f", big, 10));
	PRINT(fremovexattr(f, "user.f"));
	PRINT(fsetxattr(p, "user.f", "x", 1, 0));
	PRINT(fgetxattr(p, "user.f", big, 10));
	PRINT(flistxattr(99, big, 10));
	setxattr("file", "trusted.a", "x", 1, 0);
	chmod("file", 0644);
	mkdir("sticky", 01777);
	chmod("sticky", 01777);
	if (fork() == 0) {
		setuid(1000);
		PRINT(setxattr("file", "user.b", "x", 1, 0));
		PRINT(getxattr("file", "user.half", big, 70000));
		PRINT(setxattr("file", "trusted.b", "x", 1, 0));
		PRINT(getxattr("file", "trusted.a", big, 10));
		PRINT(removexattr("file", "trusted.a"));
		PRINT(setxattr("file", "security.b", "x", 1, 0));
		PRINT(getxattr("file", "security.b", big, 10));
		PRINT(setxattr("sticky", "user.b", "x", 1, 0));
		list("a user's list", "file");
		_exit(0);
	}
	wait(0);
	return 0;
}
