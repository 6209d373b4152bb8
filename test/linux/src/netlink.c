// NETLINK_ROUTE: groups, and what questions are answered.
#include "print.h"
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

static int join(int option, int s, int group) { return setsockopt(s, SOL_NETLINK, option, &group, sizeof group); }

// dump asks for all of a kind and says how the answer ends: "done", or an error.
static void dump(const char *name, int type, int family) {
	struct { struct nlmsghdr h; struct rtgenmsg g; char pad[64]; } request = {.h = {sizeof request, type, NLM_F_REQUEST | NLM_F_DUMP, 7, 0}, .g = {family}};
	static char buffer[65536];
	char what[100];
	int s = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), of_family = 1;
	send(s, &request, sizeof request, 0);
	snprintf(what, sizeof what, "%s, family %d", name, family);
	for (;;) {
		long n = recv(s, buffer, sizeof buffer, 0);
		for (struct nlmsghdr *h = (void *)buffer; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
			if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR) {
				int error = *(int *)NLMSG_DATA(h);
				SAY(what, "%s %d, seq %d, of the family %d", h->nlmsg_type == NLMSG_DONE ? "done" : strerrorname_np(-error), error && h->nlmsg_type == NLMSG_DONE, h->nlmsg_seq, of_family);
				close(s);
				return;
			}
			if (family && *(unsigned char *)NLMSG_DATA(h) != family)
				of_family = 0;
		}
	}
}

int main(void) {
	for (int group = 0; group <= 12; group++) {
		char what[50];
		int s = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
		struct sockaddr_nl a = {.nl_family = AF_NETLINK, .nl_groups = group ? 1u << (group - 1) : 0};
		snprintf(what, sizeof what, "bind to group %d", group);
		result(what, bind(s, (void *)&a, sizeof a));
		socklen_t size = sizeof a;
		getsockname(s, (void *)&a, &size);
		snprintf(what, sizeof what, "name with group %d", group);
		SAY(what, "%#x, a port %d", a.nl_groups, a.nl_pid != 0);
		close(s);
	}
	int s = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	struct sockaddr_nl a = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE};
	PRINT(bind(s, (void *)&a, sizeof a));
	socklen_t size = sizeof a;
	PRINT(getsockname(s, (void *)&a, &size));
	SAY("groups", "%#x", a.nl_groups);
	static const int groups[] = {0, 1, 2, 5, 9, 30, 32};
	for (unsigned i = 0; i < sizeof groups / sizeof *groups; i++) {
		char what[50];
		snprintf(what, sizeof what, "join %d", groups[i]);
		errno = 0;
		result(what, join(NETLINK_ADD_MEMBERSHIP, s, groups[i]));
	}
	PRINT(join(NETLINK_ADD_MEMBERSHIP, s, 1000));
	PRINT(join(NETLINK_ADD_MEMBERSHIP, s, -1));
	PRINT(join(NETLINK_DROP_MEMBERSHIP, s, 5));
	PRINT(join(NETLINK_DROP_MEMBERSHIP, s, 6));
	getsockname(s, (void *)&a, &size);
	SAY("groups after that", "%#x", a.nl_groups);
	unsigned list[4] = {0};
	size = sizeof list;
	PRINT(getsockopt(s, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, list, &size));
	SAY("memberships", "%#x", list[0]);
	char c;
	PRINT(recv(s, &c, 1, MSG_DONTWAIT));
	struct pollfd p = {s, POLLIN | POLLOUT, 0};
	PRINT(poll(&p, 1, 0));
	SAY("events", "%#x", p.revents);
	PRINT(listen(s, 1));
	dump("links", RTM_GETLINK, AF_UNSPEC);
	dump("addresses", RTM_GETADDR, AF_UNSPEC);
	dump("addresses", RTM_GETADDR, AF_INET);
	dump("addresses", RTM_GETADDR, AF_INET6);
	dump("routes", RTM_GETROUTE, AF_INET);
	dump("neighbours", RTM_GETNEIGH, AF_UNSPEC);
	dump("neighbours", RTM_GETNEIGH, AF_INET);
	dump("neighbours", RTM_GETNEIGH, AF_INET6);
	dump("queueing disciplines", RTM_GETQDISC, AF_UNSPEC);
	return 0;
}
