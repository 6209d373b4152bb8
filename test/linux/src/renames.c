// renameat2(2) with every set of flags on every pair of kinds of files.
#include "print.h"

static const char *kinds[] = {"none", "file", "other", "hard", "dir", "full", "link", "dir/inside", "dir/sub", "file/x"};
#define KINDS (sizeof kinds / sizeof *kinds)

static void make(void) {
	static const char *all[] = {"none", "file", "other", "hard", "dir/inside", "dir/sub", "full/inside", "full/sub", "dir", "full", "link", "none/inside", "none/sub", "other/inside", "other/sub", "file/inside", "file/sub", "hard/inside", "link/inside", "link/sub", "hard/sub"};
	for (int k = 0; k < 3; k++)
		for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
			if (unlink(all[i]))
				rmdir(all[i]);
	close(open("file", O_WRONLY | O_CREAT, 0644));
	close(open("other", O_WRONLY | O_CREAT, 0600));
	link("file", "hard");
	mkdir("dir", 0755);
	mkdir("full", 0755);
	close(open("full/inside", O_WRONLY | O_CREAT, 0644));
	symlink("file", "link");
}

static ino_t ino(const char *name) {
	struct stat st;
	return lstat(name, &st) ? 0 : st.st_ino;
}

int main(void) {
	char what[200];
	for (unsigned flags = 0; flags < 4; flags++)
		for (unsigned i = 0; i < KINDS; i++)
			for (unsigned j = 0; j < KINDS; j++) {
				make();
				ino_t a = ino(kinds[i]), b = ino(kinds[j]);
				errno = 0;
				int r = syscall(SYS_renameat2, AT_FDCWD, kinds[i], AT_FDCWD, kinds[j], flags);
				snprintf(what, sizeof what, "%s to %s with %u", kinds[i], kinds[j], flags);
				if (r < 0)
					SAY(what, "%s", strerrorname_np(errno));
				else
					SAY(what, "0, %s %s", ino(kinds[j]) == a ? "the first" : "another", ino(kinds[i]) == 0 ? "alone" : ino(kinds[i]) == b ? "for the second" : ino(kinds[i]) == a ? "stays" : "odd");
			}
	make();
	PRINT(syscall(SYS_renameat2, AT_FDCWD, "file", AT_FDCWD, "none", 8));
	PRINT(rename("dir", "dir/sub"));
	PRINT(rename("full", "full/inside/x"));
	PRINT(rename("full", "dir"));
	PRINT(rename("full", "dir"));
	PRINT(access("dir/inside", F_OK));
	PRINT(rename("", "x"));
	PRINT(rename("file", ""));
	PRINT(rename(".", "x"));
	PRINT(rename("dir/.", "x"));
	PRINT(rename("dir/..", "x"));
	PRINT(rename("file", "dir/."));
	PRINT(rename("/", "x"));
	PRINT(rename("file", "/"));
	return 0;
}
