// Clocks and timers: which there are, their resolutions, who may set them.
#include "print.h"
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/times.h>
#include <sys/timex.h>

static const struct { const char *name; clockid_t id; } clocks[] = {
	{"REALTIME", CLOCK_REALTIME}, {"MONOTONIC", CLOCK_MONOTONIC}, {"PROCESS", CLOCK_PROCESS_CPUTIME_ID}, {"THREAD", CLOCK_THREAD_CPUTIME_ID}, {"RAW", CLOCK_MONOTONIC_RAW}, {"REALTIME_COARSE", CLOCK_REALTIME_COARSE}, {"MONOTONIC_COARSE", CLOCK_MONOTONIC_COARSE}, {"BOOTTIME", CLOCK_BOOTTIME}, {"REALTIME_ALARM", CLOCK_REALTIME_ALARM}, {"BOOTTIME_ALARM", CLOCK_BOOTTIME_ALARM}, {"10", 10}, {"TAI", CLOCK_TAI}, {"12", 12}, {"99", 99}, {"negative", -1}, {"of process 1", (~(clockid_t)1 << 3) | 2}, {"of no process", (~(clockid_t)99999 << 3) | 2},
};
#define CLOCKS (sizeof clocks / sizeof *clocks)

static double now(clockid_t id) {
	struct timespec t = {0};
	syscall(SYS_clock_gettime, id, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void each(const char *who) {
	char what[100];
	for (unsigned i = 0; i < CLOCKS; i++) {
		struct timespec t = {0}, none = {0, 1}, bad = {0, 1000000000}, past = {-1, 0};
		clockid_t id = clocks[i].id;
#define T(call) do { errno = 0; snprintf(what, sizeof what, "%s %s: " #call, who, clocks[i].name); result(what, (call)); } while (0)
		T(syscall(SYS_clock_gettime, id, &t));
		T(syscall(SYS_clock_getres, id, &t));
		if (i != 5 && i != 6) {
			snprintf(what, sizeof what, "%s %s resolution", who, clocks[i].name);
			SAY(what, "%ld", t.tv_nsec);
		}
		T(syscall(SYS_clock_getres, id, 0));
		// A processor's clock stands while who reads it sleeps.
		if (id != CLOCK_PROCESS_CPUTIME_ID && id != CLOCK_THREAD_CPUTIME_ID && id != clocks[15].id) {
			T(syscall(SYS_clock_nanosleep, id, 0, &none, 0));
			T(syscall(SYS_clock_nanosleep, id, TIMER_ABSTIME, &none, 0));
		}
		T(syscall(SYS_clock_nanosleep, id, 0, &bad, 0));
		T(syscall(SYS_clock_nanosleep, id, 0, &past, 0));
		if (id != CLOCK_REALTIME)
			T(syscall(SYS_clock_settime, id, &none));
		T(syscall(SYS_clock_settime, id, &bad));
		int fd;
		T((fd = timerfd_create(id, 0)) < 0 ? -1 : 0);
		close(fd);
		int timer;
		struct sigevent ev = {.sigev_notify = SIGEV_NONE};
		T(syscall(SYS_timer_create, id, &ev, &timer) < 0 ? -1 : 0);
	}
}

static void relations(void) {
	double boot = now(CLOCK_BOOTTIME), up = 0;
	FILE *f = fopen("/proc/uptime", "r");
	fscanf(f, "%lf", &up);
	SAY("/proc/uptime and BOOTTIME", "%s", up - boot < 0.5 && boot - up < 0.5 ? "alike" : "differ");
	SAY("BOOTTIME and MONOTONIC", "%s", now(CLOCK_BOOTTIME) + 1e-3 >= now(CLOCK_MONOTONIC) ? "in order" : "not");
	double a = now(CLOCK_REALTIME), b = now(CLOCK_REALTIME_COARSE), c = now(CLOCK_TAI);
	SAY("REALTIME and its coarse one", "%s", a - b < 0.1 && b - a < 0.1 ? "alike" : "differ");
	SAY("REALTIME and TAI", "%s", c - a > -0.1 && c - a < 60 ? "alike" : "differ");
	struct timeval tv;
	gettimeofday(&tv, 0);
	a = now(CLOCK_REALTIME);
	SAY("gettimeofday", "%s", a - tv.tv_sec - tv.tv_usec / 1e6 < 0.1 ? "alike" : "differ");
	SAY("time", "%s", a - time(0) < 2 ? "alike" : "differ");
	PRINT(times(0) != -1);
	PRINT(sysconf(_SC_CLK_TCK));
	struct timex tx = {0};
	PRINT(adjtimex(&tx) >= 0);
	SAY("adjtimex", "tick %ld", tx.tick);
	tx.modes = 0x8000;
	PRINT(syscall(SYS_clock_adjtime, CLOCK_MONOTONIC, &tx));
	tx = (struct timex){0};
	PRINT(syscall(SYS_clock_adjtime, CLOCK_REALTIME, &tx) >= 0);
	PRINT(syscall(SYS_clock_adjtime, 99, &tx));
	PRINT(syscall(SYS_adjtimex, 8));
}

static void timers(void) {
	struct itimerspec in = {{0, 0}, {0, 20000000}}, out;
	uint64_t n = 0;
	int t = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	PRINT(timerfd_create(CLOCK_MONOTONIC, 1));
	PRINT(read(t, &n, 8));
	PRINT(timerfd_settime(t, 0, &in, &out));
	SAY("old", "%ld %ld", (long)out.it_value.tv_sec, out.it_value.tv_nsec);
	PRINT(read(t, &n, 8));
	PRINT(read(t, &n, 4));
	usleep(60000);
	PRINT(read(t, &n, 8));
	SAY("expired", "%ld", (long)n);
	PRINT(timerfd_gettime(t, &out));
	SAY("disarmed", "%ld %ld", (long)out.it_value.tv_sec, out.it_value.tv_nsec);
	in.it_value.tv_nsec = 1000000000;
	PRINT(timerfd_settime(t, 0, &in, 0));
	in.it_value.tv_nsec = -1;
	PRINT(timerfd_settime(t, 0, &in, 0));
	in.it_value.tv_nsec = 1;
	PRINT(timerfd_settime(t, 8, &in, 0));
	PRINT(timerfd_settime(t, TFD_TIMER_CANCEL_ON_SET, &in, 0));
	PRINT(timerfd_settime(t, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &in, 0));
	PRINT(timerfd_settime(0, 0, &in, 0));
	PRINT(timerfd_settime(99, 0, &in, 0));
	PRINT(timerfd_gettime(99, &out));
	PRINT(write(t, &n, 8));
	int r = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
	in = (struct itimerspec){{0, 0}, {time(0) + 1000, 0}};
	PRINT(timerfd_settime(r, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &in, 0));
	PRINT(timerfd_settime(r, TFD_TIMER_CANCEL_ON_SET, &in, 0));
	struct itimerval it = {{0, 0}, {0, 1000000}};
	PRINT(setitimer(ITIMER_REAL, &it, 0));
	PRINT(setitimer(9, &it, 0));
	PRINT(getitimer(9, &it));
	PRINT(setitimer(ITIMER_VIRTUAL, &(struct itimerval){{0, 0}, {1000, 0}}, 0));
	PRINT(getitimer(ITIMER_VIRTUAL, &it));
	PRINT(it.it_value.tv_sec >= 990);
	PRINT(timer_delete((timer_t)77777));
	PRINT(syscall(SYS_timer_settime, 77777, 0, &in, 0));
	PRINT(syscall(SYS_timer_getoverrun, 77777));
	struct sigevent ev = {.sigev_notify = 99};
	int id;
	PRINT(syscall(SYS_timer_create, CLOCK_REALTIME, &ev, &id));
	ev = (struct sigevent){.sigev_notify = SIGEV_SIGNAL, .sigev_signo = 99};
	PRINT(syscall(SYS_timer_create, CLOCK_REALTIME, &ev, &id));
	ev = (struct sigevent){.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
	PRINT(syscall(SYS_timer_create, CLOCK_REALTIME, &ev, &id));
	struct timespec bad = {0, 1000000000}, neg = {-1, 0};
	PRINT(syscall(SYS_nanosleep, &bad, 0));
	PRINT(syscall(SYS_nanosleep, &neg, 0));
	PRINT(alarm(0));
	PRINT(alarm(100));
	PRINT(alarm(0));
}

int main(void) {
	each("root");
	relations();
	timers();
	fflush(stdout);
	if (fork() == 0) {
		setuid(1000);
		each("a user");
		struct timeval tv = {1, 0};
		PRINT(settimeofday(&tv, 0));
		struct timex tx = {.modes = ADJ_FREQUENCY};
		PRINT(adjtimex(&tx));
		PRINT(syscall(SYS_clock_settime, CLOCK_REALTIME, &(struct timespec){1, 0}));
		_exit(0);
	}
	wait(0);
	return 0;
}
