package linux

// open(2) flags, include/uapi/asm-generic/fcntl.h.
const (
	O_WRONLY   = 1
	O_RDWR     = 2
	O_ACCMODE  = 3 // the bits that the access mode is in
	O_NONBLOCK = 0x800
)

// fcntl(2) commands, include/uapi/asm-generic/fcntl.h and linux/fcntl.h.
const (
	F_DUPFD         = 0
	F_GETFD         = 1
	F_SETFD         = 2
	F_GETFL         = 3
	F_SETFL         = 4
	F_DUPFD_CLOEXEC = 1030
	F_ADD_SEALS     = 1033
	F_GET_SEALS     = 1034

	FD_CLOEXEC = 1
)

// lseek(2), include/uapi/linux/fs.h.
const (
	SEEK_SET = 0
	SEEK_CUR = 1
	SEEK_END = 2
)

// File types in st_mode, include/uapi/linux/stat.h.
const (
	S_IFIFO = 0o010000
	S_IFCHR = 0o020000
	S_IFREG = 0o100000
)

// fallocate(2) modes, include/uapi/linux/falloc.h.
const (
	FALLOC_FL_KEEP_SIZE  = 1
	FALLOC_FL_PUNCH_HOLE = 2
)

// epoll_ctl(2) operations, include/uapi/linux/eventpoll.h.
const (
	EPOLL_CTL_ADD = 1
	EPOLL_CTL_DEL = 2
	EPOLL_CTL_MOD = 3
)

// Poll events, include/uapi/linux/eventpoll.h.
const (
	EPOLLIN    = 0x001
	EPOLLOUT   = 0x004
	EPOLLERR   = 0x008
	EPOLLHUP   = 0x010
	EPOLLRDHUP = 0x2000
	EPOLLET    = 1 << 31 // edge-triggered
)
