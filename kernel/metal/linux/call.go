// Package linux holds the numbers of Linux's system call interface that metal
// and its callers, the Go runtime and the Sentry, exchange: x86-64, Linux 6.1,
// under the names that Linux has for them. It holds numbers only.
//
// Files: call.go (system calls), errno.go, file.go, memory.go, thread.go,
// signal.go.
package linux

// System calls, arch/x86/entry/syscalls/syscall_64.tbl.
const (
	SYS_READ              = 0
	SYS_WRITE             = 1
	SYS_OPEN              = 2
	SYS_CLOSE             = 3
	SYS_STAT              = 4
	SYS_FSTAT             = 5
	SYS_LSTAT             = 6
	SYS_LSEEK             = 8
	SYS_MMAP              = 9
	SYS_MPROTECT          = 10
	SYS_MUNMAP            = 11
	SYS_BRK               = 12
	SYS_RT_SIGACTION      = 13
	SYS_RT_SIGPROCMASK    = 14
	SYS_RT_SIGRETURN      = 15
	SYS_IOCTL             = 16
	SYS_PREAD64           = 17
	SYS_PWRITE64          = 18
	SYS_READV             = 19
	SYS_WRITEV            = 20
	SYS_ACCESS            = 21
	SYS_SCHED_YIELD       = 24
	SYS_MINCORE           = 27
	SYS_MADVISE           = 28
	SYS_NANOSLEEP         = 35
	SYS_GETPID            = 39
	SYS_CLONE             = 56
	SYS_EXIT              = 60
	SYS_KILL              = 62
	SYS_UNAME             = 63
	SYS_FCNTL             = 72
	SYS_FTRUNCATE         = 77
	SYS_GETCWD            = 79
	SYS_READLINK          = 89
	SYS_GETTIMEOFDAY      = 96
	SYS_GETRLIMIT         = 97
	SYS_GETRUSAGE         = 98
	SYS_GETUID            = 102
	SYS_GETGID            = 104
	SYS_GETEUID           = 107
	SYS_GETEGID           = 108
	SYS_GETPPID           = 110
	SYS_SIGALTSTACK       = 131
	SYS_FSTATFS           = 138
	SYS_GETPRIORITY       = 140
	SYS_SETPRIORITY       = 141
	SYS_MLOCK             = 149
	SYS_MUNLOCK           = 150
	SYS_PRCTL             = 157
	SYS_ARCH_PRCTL        = 158
	SYS_SETRLIMIT         = 160
	SYS_GETTID            = 186
	SYS_TKILL             = 200
	SYS_TIME              = 201
	SYS_FUTEX             = 202
	SYS_SCHED_SETAFFINITY = 203
	SYS_SCHED_GETAFFINITY = 204
	SYS_SET_TID_ADDRESS   = 218
	SYS_CLOCK_GETTIME     = 228
	SYS_CLOCK_GETRES      = 229
	SYS_CLOCK_NANOSLEEP   = 230
	SYS_EXIT_GROUP        = 231
	SYS_EPOLL_WAIT        = 232
	SYS_EPOLL_CTL         = 233
	SYS_TGKILL            = 234
	SYS_OPENAT            = 257
	SYS_NEWFSTATAT        = 262
	SYS_READLINKAT        = 267
	SYS_FACCESSAT         = 269
	SYS_SET_ROBUST_LIST   = 273
	SYS_GET_ROBUST_LIST   = 274
	SYS_EPOLL_PWAIT       = 281
	SYS_FALLOCATE         = 285
	SYS_EVENTFD2          = 290
	SYS_EPOLL_CREATE1     = 291
	SYS_PIPE2             = 293
	SYS_PREADV            = 295
	SYS_PWRITEV           = 296
	SYS_PRLIMIT64         = 302
	SYS_GETRANDOM         = 318
	SYS_MEMFD_CREATE      = 319
	SYS_MEMBARRIER        = 324
	SYS_MLOCK2            = 325
	SYS_PREADV2           = 327
	SYS_PWRITEV2          = 328
	SYS_RSEQ              = 334
	SYS_FACCESSAT2        = 439
	SYS_EPOLL_PWAIT2      = 441
)
