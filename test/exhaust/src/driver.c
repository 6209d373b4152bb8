// driver: process 1 of the exhaustion test.
//
//	exhaust SECONDS USER MODE…
//
// runs one mode after the other, each for SECONDS at most, as user USER, and
// prints a line for each:
//
//	start NAME
//	result NAME end=END call=CALL errno=N made=N alive=ALIVE left=KB slab=KB tables=KB back=BACK ms=N,…
//
// END is held, timeout, exit:N or signal:N. ALIVE says whether the driver could
// start a program while the mode held what it had: ok, errno:N if fork failed,
// exit:N if execve did, or signal:N if that program was killed. LEFT is
// MemAvailable after the mode, SLAB and TABLES what the
// kernel and page tables have of the rest, in KB. BACK is ok if the driver's child could
// then touch half of what was available at the beginning, and signal:N if not. The
// times are those of the mode, of starting a program meanwhile, of ending the
// mode's processes, of removing what it has left, and of looking at memory.

#include <dirent.h>
#include <mqueue.h>
#include <poll.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <time.h>
#include "mode.h"

volatile long *made;
const char *const program = "/usr/bin/exhaust";
char block[1 << 20];

// A report is what hold tells the driver.
struct report {
	char call[32];
	int error;
};

static int reports[2]; // a pipe, the driver's end first

_Noreturn void hold(const char *what)
{
	struct report r = {.error = errno};
	strncpy(r.call, what, sizeof r.call - 1);
	if (write(reports[1], &r, sizeof r) < 0) {
		// Another process of the mode has filled the pipe with reports.
	}
	for (;;)
		pause();
}

static size_t meminfo(const char *field)
{
	char text[8192];
	int fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof text - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = 0;
	char *at = strstr(text, field);
	return at ? strtoul(at + strlen(field), NULL, 10) : 0;
}

size_t total_memory(void) { return meminfo("MemTotal:") << 10; }

char *anonymous(size_t size)
{
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		hold("mmap");
	return p;
}

void touch(char *p, size_t size)
{
	for (size_t i = 0; i < size; i += PAGE)
		((volatile char *)p)[i] = 1;
}

const char *numbered(const char *format, long n)
{
	static char path[256];
	snprintf(path, sizeof path, format, n);
	return path;
}

static long now(void) // in ms
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static const struct mode *find(const char *name)
{
	const struct mode *tables[] = {memory_modes, mapping_modes, process_modes, file_modes,
				       descriptor_modes, socket_modes, ipc_modes, kernel_modes};
	for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
		for (const struct mode *m = tables[i]; m->name; m++)
			if (!name)
				puts(m->name);
			else if (!strcmp(name, m->name))
				return m;
	return NULL;
}

// start runs a mode in a child, whose limits are those of the machine.
static pid_t start(const struct mode *m, unsigned user)
{
	pid_t child = fork();
	if (child != 0)
		return child;
	close(reports[0]);
	prctl(PR_SET_NAME, m->name);
	struct rlimit many = {1 << 20, 1 << 20}, all = {RLIM_INFINITY, RLIM_INFINITY};
	setrlimit(RLIMIT_NOFILE, &many);
	setrlimit(RLIMIT_MEMLOCK, &all);
	setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
	signal(SIGPIPE, SIG_IGN);
	memset(block, 1, sizeof block);
	if (user != 0 && (setgid(user) != 0 || setuid(user) != 0))
		hold("setuid");
	m->run();
	errno = 0;
	hold("end"); // the mode has an end of its own
}

static void print_status(const char *key, int status)
{
	if (WIFSIGNALED(status))
		printf(" %s=signal:%d", key, WTERMSIG(status));
	else
		printf(" %s=exit:%d", key, WEXITSTATUS(status));
}

// alive prints whether a program can be started now.
static void alive(void)
{
	pid_t child = fork();
	if (child < 0) {
		printf(" alive=errno:%d", errno);
		return;
	}
	if (child == 0) {
		prctl(PR_SET_NAME, "alive");
		execl(program, "alive", NULL);
		_exit(errno);
	}
	int status;
	waitpid(child, &status, 0);
	if (status == 0)
		printf(" alive=ok");
	else
		print_status("alive", status);
}

// end_all ends every process but this one.
static void end_all(void)
{
	do {
		kill(-1, SIGKILL);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		usleep(1000);
	} while (waitpid(-1, NULL, WNOHANG) >= 0 || errno != ECHILD);
}

// empty removes all that is in a directory. It goes down and up again with one descriptor, so that the depth does not
// matter.
static void empty(int top)
{
	int dir = dup(top), depth = 0, stuck = 0;
	for (;;) {
		int sub = -1, left = 0;
		DIR *d = fdopendir(dup(dir));
		if (!d)
			break;
		rewinddir(d);
		for (struct dirent *e; (e = readdir(d));) {
			if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") || !strcmp(e->d_name, "lost+found"))
				continue;
			if (unlinkat(dir, e->d_name, 0) == 0 || unlinkat(dir, e->d_name, AT_REMOVEDIR) == 0) {
				stuck = 0;
				continue;
			}
			left++;
			if (sub < 0)
				sub = openat(dir, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		}
		closedir(d);
		if (sub >= 0)
			depth++;
		else if (left == 0 && depth > 0 && stuck++ < 2 && depth--)
			sub = openat(dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (sub < 0)
			break;
		close(dir);
		dir = sub;
	}
	close(dir);
}

// remove_files removes what modes have left in file systems.
static void remove_files(void)
{
	const char *paths[] = {"/dev/shm", "/tmp", "/run", "/work", "/data"};
	for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
		int dir = open(paths[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (dir < 0)
			continue;
		empty(dir);
		close(dir);
	}
}

// remove_ipc removes objects that outlive processes: those of keys and names 1
// to made.
static void remove_ipc(void)
{
	for (long n = 1; n <= *made + 1; n++) {
		int id = shmget(n, 0, 0);
		if (id >= 0)
			shmctl(id, IPC_RMID, NULL);
		if ((id = msgget(n, 0)) >= 0)
			msgctl(id, IPC_RMID, NULL);
		if ((id = semget(n, 0, 0)) >= 0)
			semctl(id, 0, IPC_RMID);
		mq_unlink(numbered("/%ld", n));
	}
}

// print_memory prints how much memory is available once it is within an
// eighth of what it was, or after a second, and whether half of that can
// be touched.
static void print_memory(size_t before)
{
	size_t left = 0;
	for (int i = 0; i < 10; i++) {
		left = meminfo("MemAvailable:");
		if (left >= before - before / 8)
			break;
		usleep(100000);
	}
	printf(" left=%zu slab=%zu tables=%zu", left, meminfo("Slab:"), meminfo("PageTables:"));
	// What the kernel had for the mode may take it a moment to free.
	pid_t child = fork();
	for (int i = 0; i < 50 && child < 0; i++) {
		usleep(100000);
		child = fork();
	}
	if (child < 0) {
		printf(" back=errno:%d", errno);
		return;
	}
	if (child == 0) {
		prctl(PR_SET_NAME, "toucher");
		touch(anonymous(before << 9), before << 9);
		_exit(0);
	}
	int status;
	waitpid(child, &status, 0);
	if (status == 0)
		printf(" back=ok");
	else
		print_status("back", status);
}

static void run(const struct mode *m, long limit, unsigned user, size_t available)
{
	printf("start %s\n", m->name);
	fflush(stdout);
	*made = 0;
	if (pipe2(reports, O_CLOEXEC) != 0) {
		perror("pipe");
		exit(1);
	}
	fcntl(reports[1], F_SETFL, O_NONBLOCK);
	long begin = now();
	pid_t child = start(m, user);
	if (child < 0) {
		perror("fork");
		exit(1);
	}
	close(reports[1]);
	struct pollfd end = {.fd = reports[0], .events = POLLIN};
	int n = poll(&end, 1, limit);
	struct report r = {.call = "-"};
	int held = n > 0 && (end.revents & POLLIN) && read(reports[0], &r, sizeof r) == sizeof r;
	long took = now() - begin;

	printf("result %s", m->name);
	int status;
	if (held || waitpid(child, &status, n > 0 ? 0 : WNOHANG) == 0)
		printf(" end=%s", held ? "held" : "timeout");
	else
		print_status("end", status);
	printf(" call=%s errno=%d made=%ld", r.call, r.error, *made);
	long times[] = {now(), 0, 0, 0, 0};
	alive();
	close(reports[0]);
	times[1] = now();
	end_all();
	times[2] = now();
	remove_files();
	remove_ipc();
	times[3] = now();
	print_memory(available);
	times[4] = now();
	printf(" ms=%ld", took);
	for (int i = 1; i < 5; i++)
		printf(",%ld", times[i] - times[i - 1]);
	puts("");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	if (argc == 1 && !strcmp(argv[0], "alive"))
		return 0;
	if (!strcmp(argv[0], "sleep")) {
		prctl(PR_SET_NAME, argv[1]);
		for (;;)
			pause();
	}
	if (argc == 2 && !strcmp(argv[1], "list")) {
		find(NULL);
		return 0;
	}
	if (argc < 4) {
		fprintf(stderr, "usage: exhaust list | SECONDS USER MODE…\n");
		return 2;
	}
	made = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	mkdir("/work", 0777);
	chmod("/work", 0777);
	chmod("/data", 0777);
	size_t available = meminfo("MemAvailable:");
	printf("available %zu KB of %zu\n", available, total_memory() >> 10);
	for (int i = 3; i < argc; i++) {
		const struct mode *m = find(argv[i]);
		if (!m) {
			fprintf(stderr, "exhaust: no mode %s\n", argv[i]);
			return 2;
		}
		run(m, atol(argv[1]) * 1000, atol(argv[2]), available);
	}
	puts("done");
	return 0;
}
