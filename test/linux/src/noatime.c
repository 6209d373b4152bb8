// O_NOATIME, and who may have it.
#include "print.h"

static void setfl(int f, int flags) {
	PRINT(fcntl(f, F_SETFL, flags));
	PRINT(!!(fcntl(f, F_GETFL) & O_NOATIME));
}

int main(void) {
	int f = open("file", O_WRONLY | O_CREAT, 0644);
	write(f, "content", 7);
	fchmod(f, 0644);
	close(f);
	close(open("secret", O_WRONLY | O_CREAT, 0600));
	symlink("file", "link");
	f = open("file", O_RDONLY);
	setfl(f, O_NOATIME);
	OK(open("file", O_RDONLY | O_NOATIME));
	OK(open(".", O_RDONLY | O_NOATIME | O_DIRECTORY));
	close(f);
	if (fork() == 0) {
		setuid(1000);
		OK(open("file", O_RDONLY));
		OK(open("file", O_RDONLY | O_NOATIME));
		OK(open("file", O_WRONLY | O_NOATIME));
		OK(open("file", O_RDONLY | O_TRUNC | O_NOATIME));
		OK(open("file", O_RDONLY | O_CREAT | O_NOATIME, 0600));
		OK(open("file", O_RDONLY | O_CREAT | O_EXCL | O_NOATIME, 0600));
		OK(open("file", O_RDONLY | O_DIRECTORY | O_NOATIME));
		OK(open("link", O_RDONLY | O_NOATIME));
		OK(open("link", O_RDONLY | O_NOFOLLOW | O_NOATIME));
		OK(open("secret", O_RDONLY | O_NOATIME));
		OK(open("file", O_PATH | O_NOATIME));
		OK(open("none", O_RDONLY | O_NOATIME));
		OK(open("new", O_RDWR | O_CREAT | O_NOATIME, 0600));
		OK(open(".", O_RDONLY | O_NOATIME | O_DIRECTORY));
		f = open("file", O_RDONLY);
		setfl(f, O_NOATIME);
		setfl(f, O_NONBLOCK);
		_exit(0);
	}
	wait(0);
	struct stat st;
	stat("file", &st);
	SAY("size", "%ld", (long)st.st_size);
	chown("file", 1000, 1000);
	if (fork() == 0) {
		setuid(1000);
		OK(open("file", O_RDONLY | O_NOATIME));
		_exit(0);
	}
	wait(0);
	return 0;
}
