// Every combination of some flags of open(2), on every kind of file, and names
// with slashes behind them.
#include "print.h"
#include <dirent.h>

static const char *kinds[] = {"file", "dir", "tofile", "todir", "nowhere", "loop", "fifo", "none", "file/", "dir/", "tofile/", "todir/", "nowhere/", "none/", "dir/.", "todir/..", "todir/inside", "file/inside"};
static const struct { const char *name; int flag; } flags[] = {
	{"NOFOLLOW", O_NOFOLLOW}, {"DIRECTORY", O_DIRECTORY}, {"PATH", O_PATH}, {"CREAT", O_CREAT}, {"EXCL", O_EXCL}, {"TRUNC", O_TRUNC}};

static void make(void) {
	close(open("file", O_WRONLY | O_CREAT, 0644));
	mkdir("dir", 0755);
	close(open("dir/inside", O_WRONLY | O_CREAT, 0644));
	symlink("file", "tofile");
	symlink("dir", "todir");
	symlink("missing", "nowhere");
	symlink("loop", "loop");
	mkfifo("fifo", 0600);
}

static const char *type(int fd) {
	struct stat st;
	fstat(fd, &st);
	switch (st.st_mode & S_IFMT) {
	case S_IFREG: return "a file";
	case S_IFDIR: return "a directory";
	case S_IFLNK: return "a link";
	case S_IFIFO: return "a fifo";
	}
	return "something else";
}

static void try(const char *path, int mode, int set) {
	char what[200];
	int n = snprintf(what, sizeof what, "%s %s", path, mode == O_RDONLY ? "RDONLY" : "RDWR"), fl = mode | O_NONBLOCK;
	for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++)
		if (set & 1 << i) {
			n += snprintf(what + n, sizeof what - n, "|%s", flags[i].name);
			fl |= flags[i].flag;
		}
	int fd = open(path, fl, 0600);
	if (fd < 0) {
		SAY(what, "%s", strerrorname_np(errno));
	} else {
		SAY(what, "%s", type(fd));
		close(fd);
	}
	unlink("none");
	unlink("missing");
}

int main(void) {
	make();
	for (unsigned k = 0; k < sizeof kinds / sizeof *kinds; k++)
		for (int set = 0; set < 64; set++) {
			// Linux 6.4 changed what O_DIRECTORY and O_CREAT do together.
			if ((set & 2) && (set & 8))
				continue;
			// The modes matter only for what is opened for input and output.
			try(kinds[k], O_RDONLY, set);
			if (!(set & 4))
				try(kinds[k], O_RDWR, set);
		}
	return 0;
}
