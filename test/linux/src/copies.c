// copy_file_range(2), sendfile(2) and splice(2) between kinds of files.
#include "print.h"
#include <sys/sendfile.h>

static int fresh(const char *name, const char *content, int flags) {
	int f = open(name, O_CREAT | O_TRUNC | O_RDWR, 0644);
	write(f, content, strlen(content));
	close(f);
	return open(name, flags);
}

static void content(const char *what, const char *name) {
	char b[100] = "";
	int f = open(name, O_RDONLY), n = read(f, b, 99);
	for (int i = 0; i < n; i++)
		if (!b[i])
			b[i] = '-';
	SAY(what, "%d %s", n, b);
	close(f);
}

int main(void) {
	int in = fresh("in", "0123456789", O_RDONLY), out = fresh("out", "abc", O_RDWR), ap = fresh("ap", "abc", O_WRONLY | O_APPEND), wo = fresh("wo", "", O_WRONLY), p[2], s[2], dir = open(".", O_RDONLY), path = open("in", O_PATH);
	off_t a;
	loff_t la, lb;
	pipe(p);
	socketpair(AF_UNIX, SOCK_STREAM, 0, s);
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	PRINT(copy_file_range(in, 0, out, 0, 4, 0));
	PRINT(lseek(in, 0, SEEK_CUR));
	PRINT(lseek(out, 0, SEEK_CUR));
	content("out", "out");
	la = 8, lb = 6;
	PRINT(copy_file_range(in, &la, out, &lb, 100, 0));
	SAY("offsets", "%ld %ld", (long)la, (long)lb);
	content("out with a hole", "out");
	la = 20;
	PRINT(copy_file_range(in, &la, out, 0, 100, 0));
	la = 0, lb = 0;
	PRINT(copy_file_range(in, &la, out, &lb, 0, 0));
	PRINT(copy_file_range(in, &la, out, &lb, 1, 1));
	PRINT(copy_file_range(in, &la, ap, &lb, 1, 0));
	PRINT(copy_file_range(in, &la, in, &lb, 1, 0));
	PRINT(copy_file_range(wo, &la, out, &lb, 1, 0));
	PRINT(copy_file_range(p[0], 0, out, 0, 1, 0));
	PRINT(copy_file_range(in, 0, p[1], 0, 1, 0));
	PRINT(copy_file_range(dir, 0, out, 0, 1, 0));
	PRINT(copy_file_range(in, 0, dir, 0, 1, 0));
	PRINT(copy_file_range(path, 0, out, 0, 1, 0));
	PRINT(copy_file_range(99, 0, out, 0, 1, 0));
	la = -1;
	PRINT(copy_file_range(in, &la, out, 0, 1, 0));
	la = 0, lb = 5;
	PRINT(copy_file_range(out, &la, out, &lb, 6, 0));
	la = 0, lb = 6;
	PRINT(copy_file_range(out, &la, out, &lb, 3, 0));
	content("out onto itself", "out");

	lseek(in, 0, SEEK_SET);
	lseek(out, 0, SEEK_SET);
	a = 2;
	PRINT(sendfile(out, in, &a, 3));
	SAY("offset", "%ld", (long)a);
	PRINT(lseek(in, 0, SEEK_CUR));
	PRINT(sendfile(out, in, 0, 3));
	PRINT(lseek(in, 0, SEEK_CUR));
	content("sent", "out");
	PRINT(sendfile(p[1], in, 0, 3));
	PRINT(read(p[0], (char[10]){0}, 10));
	PRINT(sendfile(s[0], in, 0, 100));
	PRINT(read(s[1], (char[10]){0}, 10));
	PRINT(sendfile(s[0], in, 0, 100));
	PRINT(sendfile(ap, in, &(off_t){0}, 1));
	PRINT(sendfile(out, p[0], 0, 1));
	PRINT(sendfile(out, s[1], 0, 1));
	PRINT(sendfile(out, dir, 0, 1));
	PRINT(sendfile(in, out, 0, 1));
	PRINT(sendfile(out, wo, 0, 1));
	a = -1;
	PRINT(sendfile(out, in, &a, 1));
	PRINT(sendfile(out, in, 0, 0));
	PRINT(sendfile(out, in, 0, -1));
	PRINT(sendfile(99, in, 0, 1));

	lseek(in, 0, SEEK_SET);
	PRINT(splice(in, 0, p[1], 0, 4, 0));
	PRINT(lseek(in, 0, SEEK_CUR));
	la = 20;
	PRINT(splice(p[0], 0, out, &la, 2, 0));
	SAY("spliced to", "%ld", (long)la);
	content("spliced", "out");
	PRINT(splice(p[0], 0, ap, 0, 1, 0));
	PRINT(splice(p[0], 0, s[0], 0, 10, 0));
	PRINT(splice(p[0], 0, out, 0, 1, 0));
	PRINT(splice(p[0], 0, out, 0, 1, SPLICE_F_NONBLOCK));
	PRINT(splice(in, 0, out, 0, 1, 0));
	PRINT(splice(in, 0, p[1], &la, 1, 0));
	PRINT(splice(p[0], &la, out, 0, 1, 0));
	PRINT(splice(in, 0, p[1], 0, 0, 0));
	PRINT(splice(in, 0, p[1], 0, 1, 0x100));
	PRINT(splice(p[0], 0, p[1], 0, 1, 0));
	PRINT(splice(dir, 0, p[1], 0, 1, 0));
	PRINT(splice(wo, 0, p[1], 0, 1, 0));
	PRINT(splice(p[0], 0, in, 0, 1, 0));
	PRINT(splice(99, 0, p[1], 0, 1, 0));
	la = -1;
	PRINT(splice(in, &la, p[1], 0, 1, 0));
	int q[2];
	pipe(q);
	while (read(p[0], (char[100]){0}, 100) > 0)
		;
	write(p[1], "tee", 3);
	PRINT(tee(p[0], q[1], 10, 0));
	PRINT(tee(p[0], q[1], 2, 0));
	PRINT(read(p[0], (char[10]){0}, 10));
	PRINT(read(q[0], (char[10]){0}, 10));
	PRINT(tee(in, q[1], 2, 0));
	PRINT(tee(p[0], p[1], 2, 0));
	return 0;
}
