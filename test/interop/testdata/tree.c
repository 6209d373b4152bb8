/*
 * tree write DIRECTORY COUNT [big]    makes a tree with a bit of everything
 * tree check DIRECTORY COUNT [big]    checks that it is there, and nothing else
 * tree copied DIRECTORY COUNT [big]   checks a copy without extended attributes
 *                                     and hard links
 *
 *	many/flat/N      half of COUNT files in one directory
 *	many/NNN/N       the others, a hundred in each
 *	deep/00/01/…     60 levels, a file in each
 *	xattr/N          files with small and large extended attributes
 *	links/…          symbolic and hard links
 *	sparse           3 GB with data here and there
 *	big              3 GB of data
 *
 * Each tenth of the many has a name of 255 bytes. All content follows from
 * numbers. Some files were written under another name and renamed, over others
 * too; and others were removed again.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { LEVELS = 60, XATTRS = 20, MARKS = 16, CHUNK = 1 << 20 };
static const off_t THREE_GB = 3LL << 30;

static int writing, copied, failures;
static char path[8192];

static void fail(const char *what)
{
	printf("tree: %.200s: %s: %s\n", path, what, strerror(errno));
	if (writing || ++failures > 20)
		exit(1);
}

static void differs(const char *what)
{
	errno = 0;
	printf("tree: %.200s: %s\n", path, what);
	if (++failures > 20)
		exit(1);
}

static void fill(unsigned char *b, size_t n, uint32_t seed)
{
	uint32_t x = seed * 2654435761u + 12345;
	for (size_t i = 0; i < n; i++) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		b[i] = x >> 3;
	}
}

static void stamp(int fd, time_t when)
{
	struct timespec times[2] = {{when, 0}, {when, 123000000}};
	if (futimens(fd, times) < 0)
		fail("times");
}

static void directory(const char *name)
{
	snprintf(path, sizeof path, "%s", name);
	if (writing && mkdir(name, 0755) < 0)
		fail("mkdir");
}

/* put writes or checks the file that path names. */
static void put(uint32_t seed)
{
	static unsigned char want[9000], got[9001];
	size_t size = seed % 3 ? (seed * 7919u) % sizeof want : seed % 61;
	time_t when = 1000000000 + seed % 100000;
	fill(want, size, seed);
	if (writing) {
		char temporary[] = "temporary";
		int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL, 0600);
		if (fd < 0 || write(fd, want, size) != (ssize_t)size || fchmod(fd, 0640) < 0)
			fail("write");
		stamp(fd, when);
		close(fd);
		if (seed % 5 == 0) { /* rename over another */
			fd = open(path, O_WRONLY | O_CREAT, 0644);
			if (fd < 0 || write(fd, got, 5000) != 5000)
				fail("write what is replaced");
			close(fd);
		}
		if (rename(temporary, path) < 0)
			fail("rename");
		return;
	}
	struct stat st;
	int fd = open(path, O_RDONLY);
	if (fd < 0 || fstat(fd, &st) < 0) {
		fail("open");
		return;
	}
	ssize_t n = read(fd, got, sizeof got);
	if (n != (ssize_t)size || memcmp(got, want, size) != 0)
		differs("content");
	if ((st.st_mode & 07777) != 0640 || st.st_mtim.tv_sec != when)
		differs("mode or time");
	close(fd);
}

/* entries checks how many entries a directory has. */
static void entries(const char *name, int want)
{
	if (writing)
		return;
	int n = 0;
	DIR *d = opendir(name);
	snprintf(path, sizeof path, "%s", name);
	if (!d) {
		fail("opendir");
		return;
	}
	for (struct dirent *e; (e = readdir(d));)
		n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
	closedir(d);
	if (n != want)
		differs("number of entries");
}

/* name puts the name of file number i into path, behind a directory's. */
static void name(const char *dir, int i)
{
	int n = snprintf(path, sizeof path, "%s/%d", dir, i);
	if (i % 10 == 0) {
		int slash = strlen(dir) + 1;
		for (; n - slash < 255; n++)
			path[n] = 'a' + n % 26;
		path[n] = 0;
	}
}

static void many(int count)
{
	char dir[64];
	directory("many");
	directory("many/flat");
	for (int i = 0; i < count; i++) {
		if (i % 2) {
			snprintf(dir, sizeof dir, "many/%03d", i / 200);
			if (i % 200 == 1)
				directory(dir);
			name(dir, i);
		} else {
			name("many/flat", i);
		}
		put(i);
		if (writing && i % 7 == 0) { /* one that goes again */
			int fd = open("many/flat/passing", O_WRONLY | O_CREAT, 0644);
			if (fd < 0 || write(fd, path, sizeof path) < 0 || unlink("many/flat/passing") < 0)
				fail("passing");
			close(fd);
		}
	}
	entries("many/flat", count / 2);
	entries("many", 1 + (count + 198) / 200);
}

static void deep(void)
{
	char dir[2048] = "deep";
	directory(dir);
	for (int i = 0; i < LEVELS; i++) {
		sprintf(dir + strlen(dir), "/level-%02d", i);
		directory(dir);
		snprintf(path, sizeof path, "%s/file", dir);
		put(i);
	}
}

static void xattrs(void)
{
	unsigned char want[3000], got[3001];
	directory("xattr");
	for (int i = 0; i < XATTRS; i++) {
		snprintf(path, sizeof path, "xattr/%d", i);
		put(i);
		if (copied)
			continue;
		for (int large = 0; large < 2; large++) {
			const char *attr = large ? "user.large" : "user.small";
			size_t size = large ? 1500 + i * 70 : 10 + i;
			fill(want, size, i * 2 + large);
			if (writing) {
				if (setxattr(path, attr, want, size, XATTR_CREATE) < 0)
					fail(attr);
				continue;
			}
			ssize_t n = getxattr(path, attr, got, sizeof got);
			if (n < 0)
				fail(attr);
			else if (n != (ssize_t)size || memcmp(got, want, size) != 0)
				differs(attr);
		}
	}
	entries("xattr", XATTRS);
}

static void links(void)
{
	char target[301], got[301];
	directory("links");
	strcpy(path, "links/file");
	put(77);
	if (writing && link("links/file", "links/hard") < 0)
		fail("link");
	strcpy(path, "links/hard");
	if (!writing)
		put(77);
	struct stat st;
	if (!writing && !copied && (stat("links/file", &st) < 0 || st.st_nlink != 2))
		differs("number of links");
	for (int size = 30; size <= 300; size += 270) { /* inside of the inode, and not */
		memset(target, 'x', size);
		target[0] = '/';
		target[size] = 0;
		snprintf(path, sizeof path, "links/symbolic-%d", size);
		if (writing && symlink(target, path) < 0)
			fail("symlink");
		ssize_t n = readlink(path, got, sizeof got);
		if (n != size || memcmp(got, target, size) != 0)
			differs("target");
	}
	entries("links", 4);
}

static void sparse(void)
{
	unsigned char want[6000], got[6000];
	strcpy(path, "sparse");
	int fd = open(path, writing ? O_RDWR | O_CREAT : O_RDONLY, 0644);
	if (fd < 0) {
		fail("open");
		return;
	}
	if (writing && ftruncate(fd, THREE_GB) < 0)
		fail("truncate");
	for (int i = 0; i < MARKS; i++) {
		off_t off = i * (THREE_GB / MARKS) + i * 1009;
		fill(want, sizeof want, 1000 + i);
		if (writing) {
			if (pwrite(fd, want, sizeof want, off) != sizeof want)
				fail("write");
			continue;
		}
		if (pread(fd, got, sizeof got, off) != sizeof got || memcmp(got, want, sizeof got) != 0)
			differs("mark");
		/* Between the marks there are zeros. */
		if (pread(fd, got, sizeof got, off + 20000) != sizeof got)
			differs("hole");
		for (size_t k = 0; k < sizeof got; k++)
			if (got[k]) {
				differs("hole is not empty");
				break;
			}
	}
	if (writing)
		stamp(fd, 1000000001);
	struct stat st;
	if (fstat(fd, &st) < 0 || st.st_size != THREE_GB)
		differs("size");
	if (!copied && st.st_blocks > 4096)
		differs("the holes take space");
	if (close(fd) < 0)
		fail("close");
}

static void big(void)
{
	static unsigned char want[CHUNK], got[CHUNK];
	strcpy(path, "big");
	int fd = open(path, writing ? O_WRONLY | O_CREAT : O_RDONLY, 0644);
	if (fd < 0) {
		fail("open");
		return;
	}
	fill(want, CHUNK, 4242);
	for (off_t off = 0; off < THREE_GB; off += CHUNK) {
		memcpy(want, &off, sizeof off);
		if (writing) {
			if (write(fd, want, CHUNK) != CHUNK)
				fail("write");
		} else if (read(fd, got, CHUNK) != CHUNK || memcmp(got, want, CHUNK) != 0) {
			differs("content");
			break;
		}
	}
	if (writing)
		stamp(fd, 1000000002);
	if (close(fd) < 0)
		fail("close");
}

int main(int argc, char **argv)
{
	if (argc < 4 || chdir(argv[2]) < 0) {
		fprintf(stderr, "usage: tree write|check|copied DIRECTORY COUNT [big]\n");
		return 2;
	}
	writing = strcmp(argv[1], "write") == 0;
	copied = strcmp(argv[1], "copied") == 0;
	umask(022);
	many(atoi(argv[3]));
	deep();
	xattrs();
	links();
	sparse();
	if (argc > 4)
		big();
	if (failures == 0)
		printf("tree: ok\n");
	return failures > 0;
}
