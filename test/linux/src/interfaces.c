// The loopback interface, as getifaddrs(3) and ioctls show it.
#include "print.h"
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sys/ioctl.h>

static const char *text(struct sockaddr *a) {
	static char buffers[4][INET6_ADDRSTRLEN];
	static int next;
	char *b = buffers[next++ % 4];
	if (!a)
		return "none";
	if (a->sa_family == AF_INET)
		return inet_ntop(AF_INET, &((struct sockaddr_in *)a)->sin_addr, b, INET6_ADDRSTRLEN);
	if (a->sa_family == AF_INET6)
		return inet_ntop(AF_INET6, &((struct sockaddr_in6 *)a)->sin6_addr, b, INET6_ADDRSTRLEN);
	snprintf(b, INET6_ADDRSTRLEN, "of family %d", a->sa_family);
	return b;
}

static void request(const char *what, int s, unsigned long cmd, const char *name, int is_address) {
	struct ifreq r = {0};
	char line[100];
	strcpy(r.ifr_name, name);
	snprintf(line, sizeof line, "%s of %s", what, name);
	errno = 0;
	if (ioctl(s, cmd, &r) < 0)
		result(line, -1);
	else if (is_address)
		SAY(line, "%d %s", r.ifr_addr.sa_family, text(&r.ifr_addr));
	else
		SAY(line, "%d", r.ifr_flags);
}

int main(void) {
	struct ifaddrs *all, *i;
	PRINT(getifaddrs(&all));
	for (i = all; i; i = i->ifa_next)
		if (!strcmp(i->ifa_name, "lo"))
			SAY("lo", "%s, mask %s, broadcast %s, flags %#x", text(i->ifa_addr), text(i->ifa_netmask), text(i->ifa_broadaddr), i->ifa_flags);
	// What eth0 has depends on the machine, but not these flags and that form.
	for (i = all; i; i = i->ifa_next)
		if (!strcmp(i->ifa_name, "eth0") && i->ifa_addr && i->ifa_addr->sa_family == AF_INET) {
			struct sockaddr_in *a = (void *)i->ifa_addr, *m = (void *)i->ifa_netmask, *b = (void *)i->ifa_broadaddr;
			SAY("eth0", "flags %#x, right broadcast address %d", i->ifa_flags, b && b->sin_addr.s_addr == (a->sin_addr.s_addr | ~m->sin_addr.s_addr));
		}
	int kinds[] = {AF_INET, AF_UNIX, AF_INET6};
	for (int k = 0; k < 3; k++) {
		int s = socket(kinds[k], SOCK_DGRAM, 0);
		SAY("family", "%d", kinds[k]);
		request("SIOCGIFFLAGS", s, SIOCGIFFLAGS, "lo", 0);
		request("SIOCGIFFLAGS", s, SIOCGIFFLAGS, "none", 0);
		request("SIOCGIFFLAGS", s, SIOCGIFFLAGS, "eth0", 0);
		if (kinds[k] == AF_INET) {
			request("SIOCGIFADDR", s, SIOCGIFADDR, "lo", 1);
			request("SIOCGIFNETMASK", s, SIOCGIFNETMASK, "lo", 1);
			request("SIOCGIFADDR", s, SIOCGIFADDR, "none", 1);
			request("SIOCGIFBRDADDR", s, SIOCGIFBRDADDR, "lo", 1);
		}
		close(s);
	}
	PRINT(if_nametoindex("lo"));
	PRINT(if_nametoindex("none"));
	PRINT(ioctl(0, SIOCGIFFLAGS, 0) == 0);
	return 0;
}
