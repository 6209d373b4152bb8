// O_TMPFILE: its checks, what the file is like, and how it gets a name.
#include "print.h"
#include <dirent.h>
#include <sys/inotify.h>

static void stats(const char *what, int f) {
	struct stat st = {0};
	fstat(f, &st);
	SAY(what, "mode %o links %d size %ld owner %d:%d", st.st_mode, (int)st.st_nlink, (long)st.st_size, st.st_uid, st.st_gid);
}

static void names(const char *what) {
	DIR *d = opendir(".");
	int n = 0;
	for (struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] != '.';
	closedir(d);
	SAY(what, "%d names", n);
}

// named prints what is found by a name.
static void named(const char *name) {
	char what[100], b[10] = "";
	int f = open(name, O_RDONLY);
	snprintf(what, sizeof what, "the file %s", name);
	if (f < 0) {
		SAY(what, "%s", strerrorname_np(errno));
		return;
	}
	read(f, b, 9);
	struct stat st;
	fstat(f, &st);
	SAY(what, "%s, mode %o, links %d", b, st.st_mode, (int)st.st_nlink);
	close(f);
}

static char *proc(int f) {
	static char path[64];
	snprintf(path, sizeof path, "/proc/self/fd/%d", f);
	return path;
}

static void links(void) {
	int f = open(".", O_TMPFILE | O_RDWR, 0640);
	stats("new", f);
	PRINT(write(f, "content", 7));
	stats("written", f);
	names("before");
	PRINT(linkat(AT_FDCWD, proc(f), AT_FDCWD, "one", AT_SYMLINK_FOLLOW));
	stats("linked", f);
	named("one");
	PRINT(linkat(AT_FDCWD, proc(f), AT_FDCWD, "one", AT_SYMLINK_FOLLOW));
	PRINT(linkat(AT_FDCWD, proc(f), AT_FDCWD, "two", AT_SYMLINK_FOLLOW));
	stats("linked twice", f);
	PRINT(pwrite(f, "C", 1, 0));
	named("two");
	PRINT(unlink("one"));
	PRINT(unlink("two"));
	stats("unlinked", f);
	PRINT(linkat(AT_FDCWD, proc(f), AT_FDCWD, "three", AT_SYMLINK_FOLLOW));
	names("after");
	close(f);

	f = open(".", O_TMPFILE | O_WRONLY, 04755);
	stats("set-user-id", f);
	PRINT(linkat(f, "", AT_FDCWD, "empty path", AT_EMPTY_PATH));
	stats("linked by an empty path", f);
	named("empty path");
	PRINT(unlink("empty path"));
	close(f);

	f = open(".", O_TMPFILE | O_RDWR | O_EXCL, 0600);
	stats("exclusive", f);
	PRINT(linkat(AT_FDCWD, proc(f), AT_FDCWD, "exclusive", AT_SYMLINK_FOLLOW));
	PRINT(linkat(f, "", AT_FDCWD, "exclusive", AT_EMPTY_PATH));
	close(f);

	mkdir("sub", 0755);
	f = open("sub", O_TMPFILE | O_RDWR, 0600);
	write(f, "moved", 5);
	PRINT(linkat(AT_FDCWD, proc(f), AT_FDCWD, "elsewhere", AT_SYMLINK_FOLLOW));
	named("elsewhere");
	PRINT(rmdir("sub"));
	PRINT(rename("elsewhere", "renamed"));
	named("renamed");
	close(f);
	named("renamed");
	PRINT(unlink("renamed"));

	f = open("one", O_RDWR | O_CREAT, 0600);
	unlink("one");
	PRINT(linkat(AT_FDCWD, proc(f), AT_FDCWD, "again", AT_SYMLINK_FOLLOW));
	PRINT(linkat(f, "", AT_FDCWD, "again", AT_EMPTY_PATH));
	close(f);

	f = open(".", O_TMPFILE | O_RDWR, 0600);
	int g = open(proc(f), O_RDWR);
	SAY("opened by /proc", "%s", g < 0 ? strerrorname_np(errno) : "open");
	PRINT(write(g, "shared", 6));
	char *m = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, f, 0);
	SAY("mapped", "%.6s", m == MAP_FAILED ? "not" : m);
	m[0] = 'S';
	char b[10] = "";
	PRINT(pread(g, b, 6, 0));
	SAY("read", "%s", b);
	PRINT(ftruncate(f, 2));
	stats("truncated", g);
	PRINT(fsync(f));
	PRINT(fchmod(f, 0400));
	PRINT(fchown(f, 12, 34));
	stats("changed", f);
	close(f);
	PRINT(linkat(AT_FDCWD, proc(g), AT_FDCWD, "late", AT_SYMLINK_FOLLOW));
	named("late");
	PRINT(unlink("late"));
	close(g);
}

static void checks(void) {
	close(open("file", O_CREAT | O_RDWR, 0644));
	mkdir("dir", 0755);
	symlink("dir", "todir");
	OK(open(".", O_TMPFILE | O_RDONLY, 0600));
	OK(open(".", O_TMPFILE | O_RDWR, 0600));
	OK(open(".", O_TMPFILE | O_WRONLY, 0600));
	OK(open(".", O_TMPFILE | O_RDWR | O_CREAT, 0600));
	OK(open(".", (O_TMPFILE & ~O_DIRECTORY) | O_RDWR, 0600));
	OK(open(".", O_TMPFILE | O_RDWR | O_TRUNC, 0600));
	OK(open(".", O_TMPFILE | O_RDWR | O_APPEND, 0600));
	OK(open(".", O_TMPFILE | O_RDWR | O_PATH, 0600));
	OK(open(".", O_TMPFILE | O_RDWR, 0));
	OK(open("file", O_TMPFILE | O_RDWR, 0600));
	OK(open("none", O_TMPFILE | O_RDWR, 0600));
	OK(open("", O_TMPFILE | O_RDWR, 0600));
	OK(open("dir/", O_TMPFILE | O_RDWR, 0600));
	OK(open("todir", O_TMPFILE | O_RDWR, 0600));
	OK(open("todir", O_TMPFILE | O_RDWR | O_NOFOLLOW, 0600));
	OK(open("/proc", O_TMPFILE | O_RDWR, 0600));
	int gone = open("dir", O_RDONLY);
	rmdir("dir");
	OK(openat(gone, ".", O_TMPFILE | O_RDWR, 0600));
	close(gone);
	umask(077);
	int f = open(".", O_TMPFILE | O_RDWR, 0666);
	stats("under a umask", f);
	close(f);
	umask(022);
	mkdir("group", 02777);
	chmod("group", 02777);
	chown("group", 0, 55);
	f = open("group", O_TMPFILE | O_RDWR, 0666);
	stats("in a directory with a group of its own", f);
	close(f);
}

// watch: whoever watches the directory is not told of a file without a name, and
// the directory has not changed.
static void watch(void) {
	struct stat before, after;
	int i = inotify_init1(IN_NONBLOCK);
	inotify_add_watch(i, ".", IN_CREATE | IN_DELETE | IN_MOVE);
	stat(".", &before);
	usleep(20000);
	int f = open(".", O_TMPFILE | O_RDWR, 0600);
	char b[4096];
	PRINT(read(i, b, sizeof b));
	stat(".", &after);
	SAY("the directory's times", "%s", before.st_mtim.tv_nsec == after.st_mtim.tv_nsec && before.st_ctim.tv_nsec == after.st_ctim.tv_nsec ? "as before" : "changed");
	linkat(AT_FDCWD, proc(f), AT_FDCWD, "seen", AT_SYMLINK_FOLLOW);
	struct inotify_event *e = (void *)b;
	SAY("event", "%s", read(i, b, sizeof b) > 0 ? e->name : "none");
	close(f);
	close(i);
}

static void user(void) {
	mkdir("private", 0700);
	mkdir("public", 0777);
	chmod("public", 0777);
	if (fork() == 0) {
		setgid(1000);
		setuid(1000);
		OK(open("private", O_TMPFILE | O_RDWR, 0600));
		int f = open("public", O_TMPFILE | O_RDWR, 0);
		stats("a user's", f);
		PRINT(linkat(AT_FDCWD, proc(f), AT_FDCWD, "public/one", AT_SYMLINK_FOLLOW));
		PRINT(linkat(f, "", AT_FDCWD, "public/two", AT_EMPTY_PATH));
		PRINT(linkat(AT_FDCWD, proc(f), AT_FDCWD, "private/one", AT_SYMLINK_FOLLOW));
		_exit(0);
	}
	wait(0);
}

int main(void) {
	umask(022);
	links();
	checks();
	watch();
	user();
	return 0;
}
