// plugin checks dlopen. As a program it loads libraries; compiled with
// -DPLUGIN -shared it is one, whose path the program takes as argument.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>
#include "check.h"

#ifdef PLUGIN

// The program's own, which the loader finds in it.
extern int *plugin_events(void);

static __thread int per_thread = 5;

__attribute__((constructor)) static void loaded(void) { plugin_events()[0]++; }
__attribute__((destructor)) static void unloaded(void) { plugin_events()[1]++; }

int plugin_count(int by) { return per_thread += by; }
const char *plugin_name = "a plugin";

#else

static int events[2]; // constructors, destructors that ran

// The plugin calls it: link with -rdynamic.
int *plugin_events(void) { return events; }

static int (*count)(int);

static void *counts(void *arg)
{
	(void)arg;
	CHECK(count(1) == 6 && count(1) == 7); // a thread's own
	return NULL;
}

static void load(const char *path)
{
	void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	pthread_t t;
	Dl_info info;

	if (lib == NULL) {
		printf("plugin: %s\n", dlerror());
		exit(1);
	}
	CHECK(events[0] == 1 && events[1] == 0);
	count = (int (*)(int))dlsym(lib, "plugin_count");
	CHECK(count != NULL && count(10) == 15);
	CHECK(pthread_create(&t, NULL, counts, NULL) == 0 && pthread_join(t, NULL) == 0);
	CHECK(count(0) == 15);
	CHECK(strcmp(*(const char **)dlsym(lib, "plugin_name"), "a plugin") == 0);
	CHECK(dladdr((void *)count, &info) != 0 && strcmp(info.dli_sname, "plugin_count") == 0);
	CHECK(dlsym(lib, "no_such_symbol") == NULL && strstr(dlerror(), "no_such_symbol") != NULL);
	CHECK(dlclose(lib) == 0 && events[1] == 1);
}

int main(int argc, char **argv)
{
	void *self = dlopen(NULL, RTLD_NOW), *libc = dlopen("libc.so.6", RTLD_NOW);

	CHECK(self != NULL && dlsym(self, "printf") != NULL);
	CHECK(libc != NULL && dlsym(libc, "puts") == dlsym(RTLD_DEFAULT, "puts"));
	CHECK(dlopen("/no/such/library.so", RTLD_NOW) == NULL && strstr(dlerror(), "/no/such/library.so") != NULL);
	if (argc > 1)
		load(argv[1]);
	puts("plugin: ok");
	return 0;
}

#endif
