// names checks what a C library looks up in files and by the network: users,
// groups, services, hosts; and locales and character sets.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <grp.h>
#include <iconv.h>
#include <langinfo.h>
#include <locale.h>
#include <netdb.h>
#include <pwd.h>
#include <unistd.h>
#include <wchar.h>
#include <wctype.h>
#include "check.h"

static void users(void)
{
	struct passwd *u = getpwnam("root"), entry, *found;
	struct group *g;
	char room[1024];

	CHECK(u != NULL && u->pw_uid == 0 && u->pw_gid == 0 && strcmp(u->pw_dir, "/root") == 0 && u->pw_shell[0] == '/');
	u = getpwuid(getuid());
	CHECK(u != NULL && u->pw_uid == getuid());
	CHECK(getpwnam_r("nobody", &entry, room, sizeof room, &found) == 0 && found == &entry && entry.pw_uid == 65534);
	errno = 0;
	CHECK(getpwnam("no-such-user") == NULL && (errno == 0 || errno == ENOENT));
	g = getgrnam("root");
	CHECK(g != NULL && g->gr_gid == 0);
	g = getgrgid(0);
	CHECK(g != NULL && strcmp(g->gr_name, "root") == 0);
}

static void services(void)
{
	struct servent *s = getservbyname("http", "tcp");

	CHECK(s != NULL && ntohs(s->s_port) == 80);
	s = getservbyport(htons(443), "tcp");
	CHECK(s != NULL && strcmp(s->s_name, "https") == 0);
}

static void hosts(void)
{
	struct addrinfo want = { .ai_socktype = SOCK_STREAM, .ai_family = AF_INET }, *list;
	char text[INET_ADDRSTRLEN], host[256], service[64];

	CHECK(getaddrinfo("localhost", "http", &want, &list) == 0);
	struct sockaddr_in *sin = (struct sockaddr_in *)list->ai_addr;
	CHECK(list->ai_family == AF_INET && sin->sin_port == htons(80));
	CHECK(strcmp(inet_ntop(AF_INET, &sin->sin_addr, text, sizeof text), "127.0.0.1") == 0);
	CHECK(getnameinfo(list->ai_addr, list->ai_addrlen, host, sizeof host, service, sizeof service, NI_NUMERICSERV) == 0);
	CHECK(strcmp(host, "localhost") == 0 && strcmp(service, "80") == 0);
	freeaddrinfo(list);

	want.ai_flags = AI_NUMERICHOST;
	CHECK(getaddrinfo("192.0.2.7", "8080", &want, &list) == 0);
	CHECK(ntohs(((struct sockaddr_in *)list->ai_addr)->sin_port) == 8080);
	freeaddrinfo(list);
	CHECK(getaddrinfo("no.number", NULL, &want, &list) == EAI_NONAME);

	want = (struct addrinfo){ .ai_flags = AI_PASSIVE, .ai_family = AF_INET6, .ai_socktype = SOCK_STREAM };
	CHECK(getaddrinfo(NULL, "7", &want, &list) == 0 && list->ai_family == AF_INET6);
	freeaddrinfo(list);
	CHECK(gethostname(host, sizeof host) == 0 && host[0] != 0);
}

static void locales(void)
{
	wchar_t wide[16];
	char narrow[64];

	CHECK(strcmp(setlocale(LC_ALL, NULL), "C") == 0);
	CHECK(setlocale(LC_ALL, "C.UTF-8") != NULL);
	CHECK(strcmp(nl_langinfo(CODESET), "UTF-8") == 0);
	CHECK(mbstowcs(wide, "z\xc3\xbc \xe2\x82\xac", 16) == 4 && wide[1] == 0xfc && wide[3] == 0x20ac);
	CHECK(towupper(wide[1]) == 0xdc && iswalpha(wide[1]) && wcwidth(wide[3]) == 1);
	CHECK(snprintf(narrow, sizeof narrow, "%ls", wide) == 7 && strcmp(narrow, "z\xc3\xbc \xe2\x82\xac") == 0);
	CHECK(strcmp(localeconv()->decimal_point, ".") == 0);
	locale_t c = newlocale(LC_ALL_MASK, "C", NULL);
	CHECK(c != (locale_t)0 && uselocale(c) != (locale_t)0);
	CHECK(strtod("1.5", NULL) == 1.5);
	uselocale(LC_GLOBAL_LOCALE);
	freelocale(c);
}

// charsets converts between the sets that need no table in a file.
static void charsets(void)
{
	char in[] = "a\xe2\x82\xac", out[32], *from = in, *to = out;
	size_t left = 4, room = sizeof out;
	iconv_t cd = iconv_open("UCS-2LE", "UTF-8");

	CHECK(cd != (iconv_t)-1);
	CHECK(iconv(cd, &from, &left, &to, &room) == 0 && left == 0 && to - out == 4);
	CHECK(memcmp(out, "a\0\xac\x20", 4) == 0 && iconv_close(cd) == 0);
}

int main(void)
{
	users();
	services();
	hosts();
	locales();
	charsets();
	puts("names: ok");
	return 0;
}
