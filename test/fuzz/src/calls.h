// calls.h describes system calls and what they are given, for fuzz.c.

// --- The arena's parts: PARTS of ITEMS of ITEM_SIZE bytes ---

enum { PATHS, STRINGS, IOVECS, ADDRESSES, MESSAGES, CONTROLS, TIMES, WORDS, LONGS, ZEROES, NOISE, PARTS, ANY_PART };
enum { ITEM_SIZE = 256, ITEMS = 16, PART_SIZE = ITEM_SIZE * ITEMS };

static const char *const paths[] = {
	".", "..", "/", "", "a", "a", "a", "b", "b", "c", "d", "d/a", "d/b", "d/e", "../f/a", "d/../a", "a/", "a/b", "nosuch/a", "./././a",
	"link", "link/a", "dangling", "/tmp", "/tmp/f", "/tmp/f/a", "/tmp/f/d", "/etc/passwd", "/etc", "/bin/fuzz", "/nosuch",
	"/proc", "/proc/self", "/proc/self/fd/5", "/proc/self/fd/6", "/proc/self/fd", "/proc/self/exe", "/proc/self/cwd", "/proc/self/root/tmp/f/a",
	"/proc/self/maps", "/proc/self/mem", "/proc/self/mountinfo", "/proc/self/stat", "/proc/self/status", "/proc/self/cmdline", "/proc/self/environ",
	"/proc/self/ns/mnt", "/proc/self/ns/net", "/proc/self/ns/user", "/proc/self/uid_map", "/proc/self/setgroups", "/proc/self/oom_score_adj",
	"/proc/self/task", "/proc/thread-self", "/proc/mounts", "/proc/net/tcp", "/proc/net/unix", "/proc/sys/kernel/hostname", "/proc/sys/net/ipv4/ip_forward",
	"/proc/meminfo", "/proc/stat", "/proc/cpuinfo", "/sys", "/sys/devices/system/cpu", "/sys/class/net", "/dev", "/dev/null", "/dev/zero", "/dev/full",
	"/dev/random", "/dev/tty", "/dev/ptmx", "/dev/pts", "/dev/pts/0", "/dev/fd", "/dev/shm", "/dev/shm/a", "/dev/net/tun", "/dev/fuse",
	"/mnt", "/mnt/a", "/mnt/d", "/mnt/d/a", "/mnt/b", "/media", "/media/a", "/media/d", "/media/d/a",
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
};

static const char *const strings[] = {
	"", "a", "user.a", "user.", "trusted.overlay.opaque", "security.capability", "system.posix_acl_access", "tmpfs", "proc", "sysfs", "overlay",
	"devpts", "mqueue", "cgroup", "cgroup2", "ext4", "9p", "lowerdir=/tmp/f/d,upperdir=/tmp/f/e,workdir=/tmp/f/w", "size=1m,mode=700", "mode=0",
	"none", "fuse", "fd=5,rootmode=40000,user_id=0,group_id=0", "lo", "eth0", "0", "1", "-1", "99999999999999999999", "0 1000 1", "deny", "allow",
	"logon", "keyring", "#!a\n", "\177ELF\2\1\1", "%s%n",
};

static const uint64_t sizes_of[] = {0, 1, 4, 8, 12, 16, 24, 28, 32, 64, 128, 144, 152, 4096};

static void fill_address(char *p)
{
	switch (below(7)) {
	case 0:
		*(struct sockaddr_un *)p = (struct sockaddr_un){AF_UNIX, "a"};
		break;
	case 1:
		*(struct sockaddr_un *)p = (struct sockaddr_un){AF_UNIX, "\0abstract"};
		break;
	case 2:
		*(struct sockaddr_in *)p = (struct sockaddr_in){AF_INET, htons(1000 + below(4)), {htonl(0x7f000001)}, {0}};
		break;
	case 3:
		*(struct sockaddr_in *)p = (struct sockaddr_in){AF_INET, 0, {one_in(2) ? 0 : htonl(0xe0000001)}, {0}};
		break;
	case 4:
		*(struct sockaddr_in6 *)p = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(1000 + below(4)), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
		break;
	case 5:
		*(struct sockaddr_nl *)p = (struct sockaddr_nl){.nl_family = AF_NETLINK, .nl_pid = below(3)};
		break;
	default:
		*(struct sockaddr_ll *)p = (struct sockaddr_ll){.sll_family = one_in(2) ? AF_PACKET : below(50), .sll_ifindex = below(4)};
	}
}

// --- Descriptors that a program begins with ---

static const char *const fd_names[] = {
	"file", "file, read only", "folder", "folder, path only", "file, path only", "pipe, read end", "pipe, write end", "stream pair", "datagram pair", "seqpacket pair",
	"tcp", "tcp, listening", "tcp, connected", "udp", "udp, connected", "tcp6", "udp6", "raw icmp", "netlink route", "netlink uevent", "packet",
	"unix stream", "unix, listening", "unix datagram", "eventfd", "semaphore eventfd", "timerfd", "signalfd", "epoll", "inotify", "memfd", "sealed memfd",
	"ptmx", "pts", "/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/net/tun", "/dev/fuse", "/proc/self/mem", "/proc/self/maps", "/proc/self/fd", "/proc",
	"/sys", "mount namespace", "net namespace", "pidfd", "io_uring", "disk file", "disk folder", "host file", "host folder", "unlinked file", "fifo", "tmpfile", "/proc/self/exe", "mq",
};
enum { FD_KINDS = LEN(fd_names) };

static int socket_in(int family, int type, int protocol, int state_)
{
	struct sockaddr_in a = {AF_INET, htons(1000 + below(4)), {htonl(0x7f000001)}, {0}};
	int fd = socket(family, type | SOCK_NONBLOCK, protocol);

	if (state_ == 1 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && type == SOCK_STREAM)
		listen(fd, 5);
	if (state_ == 2)
		(void)!connect(fd, (struct sockaddr *)&a, sizeof a);
	return fd;
}

static int pair(int type)
{
	int p[2] = {-1, -1};

	(void)!socketpair(AF_UNIX, type, 0, p);
	return p[0];
}

static int pipe_end(int end)
{
	int p[2] = {-1, -1};

	(void)!pipe(p);
	return p[end];
}

static int terminal(int end)
{
	int n = 0, fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK);
	char name[40];

	if (end == 0)
		return fd;
	ioctl(fd, 0x40045431, &n); // TIOCSPTLCK
	ioctl(fd, 0x80045430, &n); // TIOCGPTN
	snprintf(name, sizeof name, "/dev/pts/%d", n);
	return open(name, O_RDWR | O_NOCTTY | O_NONBLOCK);
}

static int listening_unix(void)
{
	struct sockaddr_un a = {AF_UNIX, "a.sock"};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	if (bind(fd, (struct sockaddr *)&a, sizeof a) == 0)
		listen(fd, 5);
	return fd;
}

static int filled(int fd)
{
	(void)!write(fd, "0123456789\nabcdef\n", 18);
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static int open_kind(int kind)
{
	sigset_t set;
	int fd;

	if (kind == 0) { // with what the paths name
		mkdir("d", 0777);
		mkdir("d/e", 0777);
		(void)!symlink("d", "link");
		(void)!symlink("nosuch", "dangling");
	}
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	switch (kind) {
	case 0: return filled(open("a", O_RDWR | O_CREAT, 0666));
	case 1: return open("/etc/passwd", O_RDONLY);
	case 2: return open(".", O_RDONLY | O_DIRECTORY);
	case 3: return open(".", O_PATH);
	case 4: return open("/etc/passwd", O_PATH);
	case 5: return pipe_end(0);
	case 6: return pipe_end(1);
	case 7: return pair(SOCK_STREAM);
	case 8: return pair(SOCK_DGRAM);
	case 9: return pair(SOCK_SEQPACKET);
	case 10: return socket_in(AF_INET, SOCK_STREAM, 0, 0);
	case 11: return socket_in(AF_INET, SOCK_STREAM, 0, 1);
	case 12: return socket_in(AF_INET, SOCK_STREAM, 0, 2);
	case 13: return socket_in(AF_INET, SOCK_DGRAM, 0, 1);
	case 14: return socket_in(AF_INET, SOCK_DGRAM, 0, 2);
	case 15: return socket_in(AF_INET6, SOCK_STREAM, 0, 0);
	case 16: return socket_in(AF_INET6, SOCK_DGRAM, 0, 0);
	case 17: return socket_in(AF_INET, SOCK_RAW, IPPROTO_ICMP, 0);
	case 18: return socket_in(AF_NETLINK, SOCK_RAW, 0, 0);
	case 19: return socket_in(AF_NETLINK, SOCK_DGRAM, 15, 0);
	case 20: return socket_in(AF_PACKET, SOCK_RAW, htons(3), 0);
	case 21: return socket_in(AF_UNIX, SOCK_STREAM, 0, 0);
	case 22: return listening_unix();
	case 23: return socket_in(AF_UNIX, SOCK_DGRAM, 0, 0);
	case 24: return eventfd(1, EFD_NONBLOCK);
	case 25: return eventfd(5, EFD_SEMAPHORE);
	case 26: return timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	case 27: return signalfd(-1, &set, SFD_NONBLOCK);
	case 28: return epoll_create1(0);
	case 29: return inotify_init1(IN_NONBLOCK);
	case 30: return filled(memfd_create("m", 0));
	case 31:
		fd = filled(memfd_create("s", MFD_ALLOW_SEALING));
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
		return fd;
	case 32: return terminal(0);
	case 33: return terminal(1);
	case 34: return open("/dev/null", O_RDWR);
	case 35: return open("/dev/zero", O_RDWR);
	case 36: return open("/dev/full", O_RDWR);
	case 37: return open("/dev/tty", O_RDWR | O_NONBLOCK);
	case 38: return open("/dev/net/tun", O_RDWR | O_NONBLOCK);
	case 39: return open("/dev/fuse", O_RDWR | O_NONBLOCK);
	case 40: return open("/proc/self/mem", O_RDWR);
	case 41: return open("/proc/self/maps", O_RDONLY);
	case 42: return open("/proc/self/fd", O_RDONLY);
	case 43: return open("/proc", O_RDONLY);
	case 44: return open("/sys", O_RDONLY);
	case 45: return open("/proc/self/ns/mnt", O_RDONLY);
	case 46: return open("/proc/self/ns/net", O_RDONLY);
	case 47: return syscall(SYS_pidfd_open, getpid(), 0);
	case 48: return syscall(SYS_io_uring_setup, 4, arena + ZEROES * PART_SIZE);
	case 49: return filled(open("/mnt/a", O_RDWR | O_CREAT, 0666));
	case 50: return open("/mnt", O_RDONLY);
	case 51: return filled(open("/media/a", O_RDWR | O_CREAT, 0666));
	case 52: return open("/media", O_RDONLY);
	case 53:
		fd = filled(open("u", O_RDWR | O_CREAT, 0666));
		unlink("u");
		return fd;
	case 54:
		(void)!mkfifo("fifo", 0666);
		return open("fifo", O_RDWR | O_NONBLOCK);
	case 55: return open(".", O_RDWR | O_TMPFILE, 0600);
	case 56: return open("/proc/self/exe", O_RDONLY);
	default: return syscall(SYS_mq_open, "m", O_RDWR | O_CREAT | O_NONBLOCK, 0600, NULL);
	}
}

// --- Sets of flags and numbers, each under a letter ---

static const uint64_t open_flags[] = {0, 1, 2, 0x40, 0x80, 0x100, 0x200, 0x400, 0x800, 0x1000, 0x4000, 0x8000, 0x10000, 0x20000, 0x40000, 0x80000, 0x101000, 0x200000, 0x410000};
static const uint64_t prots[] = {0, 1, 2, 3, 4, 5, 7, 0x1000000, 0x2000000};
static const uint64_t map_flags[] = {1, 2, 3, 0x10, 0x20, 0x22, 0x21, 0x32, 0x40, 0x100, 0x800, 0x2000, 0x4000, 0x8000, 0x10000, 0x20000, 0x40000, 0x100000};
static const uint64_t fcntls[] = {0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 15, 16, 36, 37, 1024, 1025, 1026, 1030, 1031, 1032, 1033, 1034, 1035, 1036, 1037, 1038};
static const uint64_t ioctls_[] = {0x5401, 0x5402, 0x5403, 0x5404, 0x5405, 0x5406, 0x5408, 0x5409, 0x540a, 0x540b, 0x540e, 0x540f, 0x5410, 0x5411, 0x5412, 0x5413, 0x5414, 0x5415, 0x541b,
	0x541d, 0x5420, 0x5421, 0x5422, 0x5423, 0x5424, 0x5425, 0x5428, 0x5429, 0x80045430, 0x40045431, 0x5441, 0x5450, 0x5451, 0x5452, 0x5460, 0x8901, 0x8902, 0x8903, 0x8904, 0x8905, 0x8906, 0x8907,
	0x8910, 0x8912, 0x8913, 0x8914, 0x8915, 0x8916, 0x8917, 0x8918, 0x8919, 0x891b, 0x8921, 0x8922, 0x8924, 0x8927, 0x8933, 0x8942, 0x8946, 0x400454ca, 0x800454d2, 0x400454cb, 0x800454cf,
	0x80086601, 0x40086602, 0x80047601, 0x40049409, 0x4020940d, 0xb701, 0xb702, 0xb703, 0xb704, 0xc020aa3f, 0x40017f07, 0x8008e500, 0x80045200, 0x40045201, 0x40085203, 0xc0606610, 0x40086a80};
static const uint64_t families[] = {0, 1, 2, 10, 16, 17, 3, 15, 29, 38, 40, 45};
static const uint64_t types_[] = {1, 2, 3, 5, 10, 0x800, 0x80000};
static const uint64_t protocols[] = {0, 1, 6, 17, 58, 255, 4, 15, 9, 768, 132, 47, 41};
static const uint64_t levels[] = {0, 1, 6, 17, 41, 58, 255, 263, 270, 271};
static const uint64_t messages[] = {0, 1, 2, 4, 0x20, 0x40, 0x80, 0x100, 0x200, 0x2000, 0x4000, 0x8000, 0x10000, 0x4000000, 0x20000000, 0x40000000};
static const uint64_t clone_flags[] = {0x100, 0x200, 0x400, 0x800, 0x2000, 0x4000, 0x8000, 0x10000, 0x20000, 0x40000, 0x80000, 0x100000, 0x200000, 0x1000000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000, 17};
static const uint64_t mount_flags[] = {0, 1, 2, 4, 8, 0x10, 0x20, 0x40, 0x400, 0x800, 0x1000, 0x2000, 0x4000, 0x8000, 0x20000, 0x40000, 0x80000, 0x100000, 0x200000};
static const uint64_t at_flags[] = {0, 0x100, 0x200, 0x400, 0x800, 0x1000, 0x2000, 0x4000, 0x8000};
static const uint64_t futexes[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 128, 129, 131, 132, 137, 256};
static const uint64_t advices[] = {0, 1, 2, 3, 4, 8, 9, 10, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 100};
static const uint64_t prctls[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 47, 53, 0x53564d41, 0x59616d61};
static const uint64_t ptraces[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15, 16, 17, 18, 19, 24, 25, 30, 31, 32, 0x4200, 0x4201, 0x4202, 0x4203, 0x4204, 0x4205, 0x4206, 0x4207, 0x4208, 0x4209, 0x420a, 0x420b, 0x420e};
static const uint64_t events_[] = {1, 2, 4, 8, 0x10, 0x20, 0x40, 0x80, 0x100, 0x200, 0x400, 0x800, 0xfff, 0x2000, 0x4000, 0x1000000, 0x2000000, 0x20000000, 0x40000000, 0x80000000};
static const uint64_t options[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 44, 46, 47, 49, 50, 52, 61, 62, 64, 65, 66, 67, 70, 80, 83, 84};

#define SET(letter, s) [letter - 'A'] = {s, LEN(s)}
static const struct { const uint64_t *v; int n; } sets[26] = {
	SET('B', types_), SET('C', clone_flags), SET('D', families), SET('E', events_), SET('F', open_flags), SET('G', messages), SET('H', options), SET('J', at_flags),
	SET('K', fcntls), SET('L', levels), SET('N', mount_flags), SET('O', protocols), SET('P', prots), SET('Q', map_flags), SET('R', prctls), SET('T', ptraces), SET('U', futexes),
	SET('V', advices), SET('X', ioctls_),
};

// --- Calls: f descriptor, d folder, p path, s string, b buffer, v iovecs, a
// address, M message, t times, w words, l length, n number, i small number, o
// offset, m mode, S signal, I process, u user, A memory address, k a structure's
// size, 0 zero, and the sets above ---

#define CALL(name, types) {#name, SYS_##name, types}
static const struct { const char *name; long nr; const char *types; } calls[] = {
	CALL(read, "fbl"), CALL(write, "fbl"), CALL(pread64, "fblo"), CALL(pwrite64, "fblo"), CALL(readv, "fvi"), CALL(writev, "fvi"),
	CALL(preadv, "fvio0"), CALL(pwritev, "fvio0"), CALL(preadv2, "fvio0i"), CALL(pwritev2, "fvio0i"), CALL(lseek, "foi"),
	CALL(openat, "dpFm"), CALL(openat, "dpFm"), CALL(open, "pFm"), CALL(creat, "pm"), CALL(openat2, "dpwk"), CALL(close, "f"), CALL(close_range, "ffi"),
	CALL(dup, "f"), CALL(dup2, "ff"), CALL(dup3, "ffF"), CALL(fcntl, "fKb"), CALL(fcntl, "fKn"), CALL(ioctl, "fXb"), CALL(ioctl, "fXn"), CALL(ioctl, "fXw"),
	CALL(stat, "pb"), CALL(fstat, "fb"), CALL(lstat, "pb"), CALL(newfstatat, "dpbJ"), CALL(statx, "dpJnb"), CALL(statfs, "pb"), CALL(fstatfs, "fb"),
	CALL(access, "pi"), CALL(faccessat2, "dpiJ"), CALL(getdents64, "fbl"), CALL(getdents, "fbl"), CALL(getcwd, "bl"), CALL(chdir, "p"), CALL(fchdir, "f"), CALL(chroot, "p"),
	CALL(mkdirat, "dpm"), CALL(mkdir, "pm"), CALL(rmdir, "p"), CALL(unlinkat, "dpJ"), CALL(unlink, "p"), CALL(renameat2, "dpdpi"), CALL(rename, "pp"), CALL(linkat, "dpdpJ"), CALL(link, "pp"),
	CALL(symlinkat, "sdp"), CALL(symlink, "pp"), CALL(readlinkat, "dpbl"), CALL(mknodat, "dpnn"), CALL(fchmodat, "dpm"), CALL(fchmod, "fm"), CALL(fchownat, "dpuuJ"), CALL(fchown, "fuu"),
	CALL(utimensat, "dptJ"), CALL(truncate, "po"), CALL(ftruncate, "fo"), CALL(fallocate, "fioo"), CALL(fsync, "f"), CALL(fdatasync, "f"), CALL(syncfs, "f"), CALL(sync_file_range, "fooi"),
	CALL(sendfile, "ffbl"), CALL(splice, "fbfbli"), CALL(tee, "ffli"), CALL(vmsplice, "fvii"), CALL(copy_file_range, "fbfbl0"), CALL(readahead, "fol"), CALL(fadvise64, "fooi"), CALL(flock, "fi"),
	CALL(setxattr, "psbli"), CALL(getxattr, "psbl"), CALL(listxattr, "pbl"), CALL(removexattr, "ps"), CALL(fsetxattr, "fsbli"), CALL(fgetxattr, "fsbl"), CALL(flistxattr, "fbl"), CALL(fremovexattr, "fs"),
	CALL(mmap, "AlPQfo"), CALL(mmap, "0lPQfo"), CALL(mmap, "0lPQf0"), CALL(munmap, "Al"), CALL(mprotect, "AlP"), CALL(mremap, "AlliA"), CALL(msync, "Ali"), CALL(madvise, "AlV"), CALL(mincore, "Alb"),
	CALL(mlock, "Al"), CALL(mlock2, "Ali"), CALL(mlockall, "i"), CALL(munlockall, ""), CALL(brk, "n"), CALL(mbind, "AlibiI"), CALL(get_mempolicy, "bbnAi"), CALL(membarrier, "ii0"), CALL(memfd_create, "si"),
	CALL(process_vm_readv, "Iviv00"), CALL(process_vm_writev, "Iviv00"), CALL(remap_file_pages, "Al0oi"), CALL(shmget, "iln"), CALL(shmat, "iAn"), CALL(shmdt, "A"), CALL(shmctl, "iib"),
	CALL(semget, "iin"), CALL(semop, "iwi"), CALL(semctl, "iiib"), CALL(semtimedop, "iwit"), CALL(msgget, "in"), CALL(msgsnd, "ibli"), CALL(msgrcv, "iblii"), CALL(msgctl, "iib"),
	CALL(mq_open, "sFmb"), CALL(mq_unlink, "s"), CALL(mq_timedsend, "fblit"), CALL(mq_timedreceive, "fblbt"), CALL(mq_notify, "fb"), CALL(mq_getsetattr, "fbb"),
	CALL(socket, "DBO"), CALL(socketpair, "DBOb"), CALL(bind, "fak"), CALL(connect, "fak"), CALL(listen, "fi"), CALL(accept4, "fbwB"), CALL(getsockname, "fbw"), CALL(getpeername, "fbw"), CALL(shutdown, "fi"),
	CALL(sendto, "fblGak"), CALL(recvfrom, "fblGbw"), CALL(sendmsg, "fMG"), CALL(recvmsg, "fMG"), CALL(sendmmsg, "fMiG"), CALL(recvmmsg, "fMiGt"), CALL(setsockopt, "fLHbk"), CALL(setsockopt, "fLHwk"), CALL(getsockopt, "fLHbw"),
	CALL(pipe2, "bF"), CALL(eventfd2, "nF"), CALL(timerfd_create, "iF"), CALL(timerfd_settime, "fitb"), CALL(timerfd_gettime, "fb"), CALL(signalfd4, "fbkF"), CALL(inotify_init1, "F"), CALL(inotify_add_watch, "fpE"), CALL(inotify_rm_watch, "fi"),
	CALL(epoll_create1, "F"), CALL(epoll_ctl, "fifb"), CALL(epoll_pwait, "fbitbk"), CALL(poll, "wii"), CALL(ppoll, "witbk"), CALL(select, "iwwwt"), CALL(pselect6, "iwwwtb"),
	CALL(io_uring_setup, "iw"), CALL(io_uring_enter, "fiiibk"), CALL(io_uring_register, "fibi"), CALL(io_setup, "ib"), CALL(io_submit, "nib"), CALL(io_getevents, "niibt"), CALL(io_destroy, "n"), CALL(io_cancel, "nbb"),
	CALL(futex, "wUitwi"), CALL(futex, "wUi0wi"), CALL(set_robust_list, "bk"), CALL(get_robust_list, "Ibb"), CALL(set_tid_address, "b"), CALL(rseq, "bkii"), CALL(sched_yield, ""), CALL(nanosleep, "tb"), CALL(clock_nanosleep, "iitb"),
	CALL(clock_gettime, "ib"), CALL(clock_settime, "it"), CALL(clock_getres, "ib"), CALL(settimeofday, "tb"), CALL(adjtimex, "b"), CALL(timer_create, "ibb"), CALL(timer_settime, "iitb"), CALL(timer_gettime, "ib"), CALL(timer_getoverrun, "i"), CALL(timer_delete, "i"),
	CALL(setitimer, "itb"), CALL(getitimer, "ib"), CALL(alarm, "i"), CALL(rt_sigaction, "Sbbk"), CALL(rt_sigprocmask, "ibbk"), CALL(rt_sigpending, "bk"), CALL(rt_sigtimedwait, "bbtk"), CALL(rt_sigqueueinfo, "ISb"), CALL(rt_tgsigqueueinfo, "IISb"), CALL(sigaltstack, "bb"),
	CALL(tgkill, "IIS"), CALL(tkill, "IS"), CALL(pidfd_open, "Ii"), CALL(pidfd_send_signal, "fSb0"), CALL(pidfd_getfd, "ff0"), CALL(wait4, "Iwib"), CALL(waitid, "iIbib"), CALL(ptrace, "TIbb"), CALL(ptrace, "TIAn"), CALL(kcmp, "IIiff"),
	CALL(clone3, "bk"), CALL(unshare, "C"), CALL(setns, "fC"), CALL(prctl, "Rnnnn"), CALL(prctl, "Rbnnn"), CALL(arch_prctl, "nb"), CALL(seccomp, "iib"), CALL(personality, "n"), CALL(capget, "bb"), CALL(capset, "bb"), CALL(prlimit64, "Iibb"), CALL(getrlimit, "ib"), CALL(setrlimit, "ib"),
	CALL(getrusage, "ib"), CALL(sysinfo, "b"), CALL(times, "b"), CALL(uname, "b"), CALL(sethostname, "sl"), CALL(setdomainname, "sl"), CALL(syslog, "ibl"), CALL(getrandom, "bli"), CALL(getcpu, "bbb"), CALL(sched_setaffinity, "Ikb"), CALL(sched_getaffinity, "Ikb"),
	CALL(sched_setscheduler, "Iib"), CALL(sched_setattr, "Ibi"), CALL(sched_getattr, "Ibki"), CALL(setpriority, "iIi"), CALL(getpriority, "iI"), CALL(ioprio_set, "iIi"), CALL(setpgid, "II"), CALL(getpgid, "I"), CALL(setsid, ""), CALL(getsid, "I"),
	CALL(setuid, "u"), CALL(setreuid, "uu"), CALL(setresuid, "uuu"), CALL(setfsuid, "u"), CALL(setgroups, "iw"), CALL(getgroups, "ib"), CALL(getresuid, "bbb"), CALL(umask, "m"), CALL(keyctl, "iiiii"), CALL(add_key, "ssbli"), CALL(request_key, "sssi"),
	CALL(mount, "ppsNs"), CALL(mount, "ppsNs"), CALL(umount2, "pi"), CALL(pivot_root, "pp"), CALL(name_to_handle_at, "dpbbJ"), CALL(open_by_handle_at, "fbF"), CALL(open_tree, "dpn"), CALL(move_mount, "dpdpi"), CALL(fsopen, "si"), CALL(fsconfig, "fissi"), CALL(fsmount, "fii"),
	CALL(execveat, "dpbbJ"), CALL(execve, "pbb"), CALL(acct, "p"), CALL(quotactl, "npib"), CALL(fanotify_init, "in"), CALL(fanotify_mark, "fnndp"), CALL(bpf, "ibk"), CALL(perf_event_open, "bIiii"), CALL(userfaultfd, "F"), CALL(uselib, "p"), CALL(ustat, "nb"), CALL(sysfs, "iib"), CALL(modify_ldt, "ibl"), CALL(iopl, "i"), CALL(ioperm, "nni"),
	CALL(process_madvise, "fviV0"), CALL(process_mrelease, "f0"),
};
