// Modes that take memory that has a file, or many mappings and page tables.

#include <sys/shm.h>
#include "mode.h"

// map_file maps a new part of a file and touches it, without end.
static void map_file(int fd, int flags)
{
	if (fd < 0)
		hold("open");
	for (off_t at = 0;; at += MB, ++*made) {
		if (ftruncate(fd, at + MB) != 0)
			hold("ftruncate");
		char *p = mmap(NULL, MB, PROT_READ | PROT_WRITE, flags, fd, at);
		if (p == MAP_FAILED)
			hold("mmap");
		touch(p, MB);
	}
}

static void full(int sig)
{
	(void)sig;
	errno = ENOSPC;
	hold("SIGBUS");
}

// A page of a file that cannot be had is SIGBUS.
static void hold_at_bus(void) { signal(SIGBUS, full); }

static void memfd_map(void)
{
	hold_at_bus();
	map_file(memfd_create("map", 0), MAP_SHARED);
}

static void posix_shm(void)
{
	hold_at_bus();
	map_file(shm_open("/exhaust", O_CREAT | O_RDWR, 0600), MAP_SHARED);
}

static void ext4_map(void)
{
	hold_at_bus();
	map_file(open("/data/map", O_CREAT | O_RDWR, 0600), MAP_SHARED);
}

static void file_private(void)
{
	hold_at_bus();
	map_file(open("/data/map", O_CREAT | O_RDWR, 0600), MAP_PRIVATE);
}

static void memfd_write(void)
{
	for (int fd = memfd_create("write", 0);; ++*made)
		if (write(fd, block, MB) <= 0)
			hold("write");
}

static void memfd_allocate(void)
{
	int fd = memfd_create("allocate", 0);
	for (off_t at = 0;; at += MB, ++*made)
		if (fallocate(fd, 0, at, MB) != 0)
			hold("fallocate");
}

static void memfds(void)
{
	for (;; ++*made) {
		int fd = memfd_create("many", 0);
		if (fd < 0)
			hold("memfd_create");
		if (write(fd, block, PAGE) <= 0)
			hold("write");
	}
}

static void shared_anonymous(void)
{
	for (;; ++*made) {
		char *p = mmap(NULL, MB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED)
			hold("mmap");
		if (*made % 8 == 0) {
			pid_t child = fork();
			if (child < 0)
				hold("fork");
			while (child == 0) {
				touch(p, MB);
				pause();
			}
		}
		touch(p, MB);
	}
}

// segments makes System V segments, which kept says whether they outlive the
// process, and lets a child have every fourth.
static void segments(int kept)
{
	for (;; ++*made) {
		int id = shmget(kept ? *made + 1 : IPC_PRIVATE, MB, IPC_CREAT | 0600);
		if (id < 0)
			hold("shmget");
		char *p = shmat(id, NULL, 0);
		if (!kept)
			shmctl(id, IPC_RMID, NULL);
		if (p == (char *)-1)
			hold("shmat");
		touch(p, MB);
		if (*made % 4 == 3) {
			pid_t child = fork();
			if (child < 0)
				hold("fork");
			while (child == 0) {
				touch(p, MB);
				pause();
			}
		}
	}
}

static void shm_removed(void) { segments(0); }
static void shm_kept(void) { segments(1); }

// page_tables touches one page of each 2 MB: each costs a page table.
static void page_tables(void)
{
	size_t size = (size_t)1 << 40;
	volatile char *p = anonymous(size);
	for (size_t at = 0; at < size; at += 2 * MB, ++*made)
		p[at] = 1;
}

static void page_tables_read(void)
{
	size_t size = (size_t)1 << 40;
	volatile char *p = anonymous(size);
	for (size_t at = 0; at < size; at += 2 * MB, ++*made)
		(void)p[at];
}

// page_tables_file maps one page of a file again and again, each in 2 MB of its
// own: the memory is all page tables.
static void page_tables_file(void)
{
	int fd = memfd_create("tables", 0);
	if (ftruncate(fd, PAGE) != 0)
		hold("ftruncate");
	for (size_t at = (size_t)1 << 44;; at += 2 * MB, ++*made) {
		volatile char *p = mmap((void *)at, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
		if (p == MAP_FAILED)
			hold("mmap");
		*p = 1;
	}
}

static void regions(void)
{
	for (;; ++*made)
		if (mmap(NULL, PAGE, *made % 2 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
			hold("mmap");
}

static void protections(void)
{
	size_t size = (size_t)1 << 40;
	char *p = anonymous(size);
	for (size_t at = 0; at < size; at += 2 * PAGE, ++*made)
		if (mprotect(p + at, PAGE, PROT_READ) != 0)
			hold("mprotect");
}

const struct mode mapping_modes[] = {
	{"memfd-map", memfd_map},
	{"memfd-write", memfd_write},
	{"memfd-fallocate", memfd_allocate},
	{"memfds", memfds},
	{"posix-shm", posix_shm},
	{"ext4-map", ext4_map},
	{"file-private", file_private},
	{"shared-anon", shared_anonymous},
	{"shm-removed", shm_removed},
	{"shm-kept", shm_kept},
	{"page-tables", page_tables},
	{"page-tables-rd", page_tables_read},
	{"page-tables-fd", page_tables_file},
	{"regions", regions},
	{"mprotect", protections},
	{0},
};
