// Calls on files that programs make without a look at whether they work.
#include "print.h"
#include <linux/falloc.h>

int main(void) {
	int f = open("file", O_RDWR | O_CREAT | O_TRUNC, 0644);
	write(f, "0123456789abcdef", 16);
	struct statx sx = {0};
	PRINT(statx(AT_FDCWD, "file", 0, 0, &sx));
	SAY("statx with mask 0", "size %lld links %u mode %o", (long long)sx.stx_size, sx.stx_nlink, sx.stx_mode);
	memset(&sx, 0, sizeof sx);
	PRINT(statx(f, "", AT_EMPTY_PATH, 0, &sx));
	SAY("statx of a descriptor with mask 0", "size %lld links %u mode %o", (long long)sx.stx_size, sx.stx_nlink, sx.stx_mode);
	memset(&sx, 0, sizeof sx);
	PRINT(statx(AT_FDCWD, ".", 0, 0, &sx));
	SAY("statx of a directory with mask 0", "mode %o", sx.stx_mode);
	memset(&sx, 0, sizeof sx);
	PRINT(statx(AT_FDCWD, "file", 0, STATX_MODE, &sx));
	SAY("statx with one bit", "size %lld links %u", (long long)sx.stx_size, sx.stx_nlink);
	memset(&sx, 0, sizeof sx);
	PRINT(statx(AT_FDCWD, "file", 0, STATX__RESERVED, &sx));
	PRINT(statx(AT_FDCWD, "file", 0x80000000, 0, &sx));
	PRINT(statx(AT_FDCWD, "file", AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC, 0, &sx));
	PRINT(statx(AT_FDCWD, "", 0, 0, &sx));
	PRINT(statx(AT_FDCWD, "none", 0, 0, &sx));
	PRINT(fallocate(f, FALLOC_FL_KEEP_SIZE, 0, 8192));
	PRINT(ftruncate(f, 1 << 20));
	PRINT(pwrite(f, "x", 1, 1 << 19));
	PRINT(lseek(f, 4096, SEEK_DATA));
	PRINT(lseek(f, 1 << 19, SEEK_HOLE));
	PRINT(fallocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1 << 19, 4096));
	PRINT(lseek(f, 1 << 19, SEEK_DATA));
	PRINT(fallocate(f, FALLOC_FL_ZERO_RANGE, 0, 4096));
	int t = open(".", O_TMPFILE | O_RDWR, 0644);
	SAY("O_TMPFILE", "%s", t < 0 ? strerrorname_np(errno) : "open");
	char path[64];
	snprintf(path, sizeof path, "/proc/self/fd/%d", t);
	unlink("named");
	PRINT(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
	return 0;
}
