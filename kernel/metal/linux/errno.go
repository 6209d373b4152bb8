package linux

// Errors, include/uapi/asm-generic/errno-base.h and errno.h. A call returns
// them negated.
const (
	EPERM      = 1
	ENOENT     = 2
	ESRCH      = 3
	EINTR      = 4
	EBADF      = 9
	EAGAIN     = 11
	ENOMEM     = 12
	EFAULT     = 14
	EEXIST     = 17
	ENODEV     = 19
	EINVAL     = 22
	EMFILE     = 24
	ENOTTY     = 25
	ENOSPC     = 28
	ESPIPE     = 29
	EPIPE      = 32
	ERANGE     = 34
	ENOSYS     = 38
	EOPNOTSUPP = 95
	ETIMEDOUT  = 110
)
