package linux

// mmap(2) flags, include/uapi/asm-generic/mman-common.h.
const (
	MAP_FIXED           = 0x10
	MAP_ANONYMOUS       = 0x20
	MAP_FIXED_NOREPLACE = 0x100000
)

// madvise(2), include/uapi/asm-generic/mman-common.h.
const (
	MADV_DONTNEED       = 4
	MADV_FREE           = 8
	MADV_REMOVE         = 9
	MADV_POPULATE_READ  = 22
	MADV_POPULATE_WRITE = 23
	MADV_COLLAPSE       = 25
)
