// Linux' asynchronous input and output: io_setup(2), io_submit(2), io_getevents(2),
// io_cancel(2), io_destroy(2).
#include "print.h"
#include <linux/aio_abi.h>
#include <sys/eventfd.h>
#include <sys/uio.h>

static aio_context_t ctx;
static char buffer[64] = "abcdefghijklmnopqrstuvwxyz";

static int submit(struct iocb *cb) { return syscall(SYS_io_submit, ctx, 1L, &cb); }

// once submits a request and prints what became of it.
static void once(const char *what, struct iocb cb) {
	errno = 0;
	int r = submit(&cb);
	result(what, r);
	struct io_event e = {0};
	if (r == 1) {
		char line[80];
		snprintf(line, sizeof line, "%s, events", what);
		result(line, syscall(SYS_io_getevents, ctx, 1L, 1L, &e, 0));
		snprintf(line, sizeof line, "%s, result", what);
		SAY(line, "%lld %lld %d", (long long)e.res, (long long)e.res2, e.data == cb.aio_data);
	}
}

static void contexts(void) {
	aio_context_t none = 0, set = 1;
	PRINT(syscall(SYS_io_setup, 0, &none));
	PRINT(none);
	PRINT(syscall(SYS_io_setup, -1, &none));
	PRINT(syscall(SYS_io_setup, 1, &set));
	PRINT(syscall(SYS_io_setup, 0, &set));
	PRINT(syscall(SYS_io_setup, 1, 0));
	PRINT(syscall(SYS_io_setup, 0, 0));
	PRINT(syscall(SYS_io_destroy, 0));
	PRINT(syscall(SYS_io_destroy, 1));
	PRINT(syscall(SYS_io_destroy, -1L));
	struct io_event e;
	struct iocb cb = {0}, *list[2] = {&cb, 0};
	PRINT(syscall(SYS_io_getevents, 0, 0L, 1L, &e, 0));
	PRINT(syscall(SYS_io_submit, 0, 1L, list));
	PRINT(syscall(SYS_io_cancel, 0, &cb, &e));
	PRINT(syscall(SYS_io_setup, 8, &ctx));
	PRINT(ctx != 0);
	PRINT(syscall(SYS_io_setup, 8, &ctx));
	PRINT(syscall(SYS_io_submit, ctx, 0L, list));
	PRINT(syscall(SYS_io_submit, ctx, -1L, list));
	PRINT(syscall(SYS_io_submit, ctx, 1L, 0));
	PRINT(syscall(SYS_io_submit, ctx, 1L, list + 1));
	struct timespec now = {0}, bad = {0, 1000000000};
	PRINT(syscall(SYS_io_getevents, ctx, 0L, 1L, &e, &now));
	PRINT(syscall(SYS_io_getevents, ctx, 1L, 1L, &e, &now));
	PRINT(syscall(SYS_io_getevents, ctx, 2L, 1L, &e, &now));
	PRINT(syscall(SYS_io_getevents, ctx, -1L, 1L, &e, &now));
	PRINT(syscall(SYS_io_getevents, ctx, 0L, -1L, &e, &now));
	PRINT(syscall(SYS_io_getevents, ctx, 0L, 0L, &e, &now));
	PRINT(syscall(SYS_io_getevents, ctx, 1L, 1L, &e, &bad));
	PRINT(syscall(SYS_io_getevents, ctx, 1L, 1L, &e, 8));
	PRINT(syscall(SYS_io_cancel, ctx, &cb, &e));
	PRINT(syscall(SYS_io_cancel, ctx, 0, &e));
}

static void requests(void) {
	int fd = open("aio.file", O_CREAT | O_TRUNC | O_RDWR, 0600), event = eventfd(0, EFD_NONBLOCK), p[2];
	int rd = open("aio.file", O_RDONLY), wr = open("aio.file", O_WRONLY);
	pipe(p);
	struct iovec v[2] = {{buffer, 4}, {buffer + 8, 4}};
#define CB(op, f, b, n, off) (struct iocb){.aio_data = 77, .aio_lio_opcode = op, .aio_fildes = f, .aio_buf = (uintptr_t)(b), .aio_nbytes = n, .aio_offset = off}
	once("pwrite", CB(IOCB_CMD_PWRITE, fd, buffer, 26, 0));
	once("pwrite further", CB(IOCB_CMD_PWRITE, fd, buffer, 6, 100));
	once("pwrite nothing", CB(IOCB_CMD_PWRITE, fd, buffer, 0, 0));
	once("pread", CB(IOCB_CMD_PREAD, fd, buffer, 10, 2));
	SAY("what was read", "%.10s", buffer);
	once("pread past the end", CB(IOCB_CMD_PREAD, fd, buffer, 10, 1000));
	once("pread over the end", CB(IOCB_CMD_PREAD, fd, buffer, 10, 103));
	once("pread to nowhere", CB(IOCB_CMD_PREAD, fd, 8, 10, 0));
	once("pwrite from nowhere", CB(IOCB_CMD_PWRITE, fd, 8, 10, 0));
	once("pread before the start", CB(IOCB_CMD_PREAD, fd, buffer, 10, -1));
	once("pread of what is for writing", CB(IOCB_CMD_PREAD, wr, buffer, 10, 0));
	once("pwrite of what is for reading", CB(IOCB_CMD_PWRITE, rd, buffer, 10, 0));
	once("preadv", CB(IOCB_CMD_PREADV, fd, v, 2, 0));
	once("pwritev", CB(IOCB_CMD_PWRITEV, fd, v, 2, 30));
	once("preadv of none", CB(IOCB_CMD_PREADV, fd, v, 0, 0));
	once("preadv of too many", CB(IOCB_CMD_PREADV, fd, v, 2000, 0));
	once("fsync", CB(IOCB_CMD_FSYNC, fd, 0, 0, 0));
	once("fdsync", CB(IOCB_CMD_FDSYNC, fd, 0, 0, 0));
	once("fsync with a buffer", CB(IOCB_CMD_FSYNC, fd, buffer, 0, 0));
	once("fsync of a pipe", CB(IOCB_CMD_FSYNC, p[0], 0, 0, 0));
	once("noop", CB(IOCB_CMD_NOOP, fd, 0, 0, 0));
	once("unknown", CB(99, fd, 0, 0, 0));
	once("no descriptor", CB(IOCB_CMD_PREAD, -1, buffer, 1, 0));
	once("closed descriptor", CB(IOCB_CMD_PREAD, 999, buffer, 1, 0));
	once("more than fits", CB(IOCB_CMD_PREAD, fd, buffer, -1ul, 0));
	write(p[1], "pipe", 4);
	once("pipe", CB(IOCB_CMD_PREAD, p[0], buffer, 4, 0));
	once("poll", CB(IOCB_CMD_POLL, p[1], POLLOUT, 0, 0));
	once("poll of more bits", CB(IOCB_CMD_POLL, p[1], 1 << 16, 0, 0));
	struct iocb cb = CB(IOCB_CMD_PREAD, fd, buffer, 4, 0);
	cb.aio_flags = IOCB_FLAG_RESFD, cb.aio_resfd = event;
	once("eventfd", cb);
	uint64_t n = 0;
	PRINT(read(event, &n, 8));
	PRINT(n);
	PRINT(read(event, &n, 8));
	cb.aio_resfd = fd;
	once("no eventfd", cb);
	cb.aio_resfd = 999;
	once("closed eventfd", cb);
	cb.aio_flags = 1 << 5;
	once("unknown flag", cb);
	cb.aio_flags = 0, cb.aio_reserved2 = 1;
	once("reserved", cb);
	cb.aio_reserved2 = 0, cb.aio_rw_flags = 1 << 20;
	once("unknown rw flag", cb);
	cb.aio_rw_flags = 0, cb.aio_reqprio = 1 << 14;
	once("priority without its flag", cb);
	unlink("aio.file");
	close(fd), close(rd), close(wr), close(p[0]), close(p[1]), close(event);
}

static void many(void) {
	int fd = open("aio.many", O_CREAT | O_TRUNC | O_RDWR, 0600);
	struct iocb cb[4], *list[4];
	for (int i = 0; i < 4; i++) {
		cb[i] = CB(IOCB_CMD_PWRITE, i == 2 ? 999 : fd, buffer, 4, i * 4);
		list[i] = &cb[i];
	}
	struct io_event e[8];
	PRINT(syscall(SYS_io_submit, ctx, 4L, list)); // up to the bad one
	PRINT(syscall(SYS_io_getevents, ctx, 2L, 8L, e, 0));
	PRINT(syscall(SYS_io_submit, ctx, 2L, list + 2));
	cb[2].aio_fildes = fd;
	PRINT(syscall(SYS_io_submit, ctx, 4L, list));
	PRINT(syscall(SYS_io_getevents, ctx, 4L, 8L, e, 0));
	struct timespec now = {0};
	PRINT(syscall(SYS_io_getevents, ctx, 0L, 8L, e, &now));
	PRINT(syscall(SYS_io_destroy, ctx));
	PRINT(syscall(SYS_io_destroy, ctx));
	PRINT(syscall(SYS_io_submit, ctx, 1L, list));
	PRINT(syscall(SYS_io_getevents, ctx, 0L, 1L, e, &now));
	unlink("aio.many");
	close(fd);
}

int main(void) {
	contexts();
	requests();
	many();
	return 0;
}
