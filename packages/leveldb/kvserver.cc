// kvserver PORT DIRECTORY serves a LevelDB database over TCP, a thread for
// each connection. A request is a line:
//
//	ping            pong
//	put KEY VALUE   ok
//	del KEY         ok
//	get KEY         the value, or "not found"
//	scan            a line "KEY VALUE" for each, then "end"
//	count           how many there are
//	fill N SIZE     ok, after N values of SIZE bytes were put
//	stats           a line "level L files N" for each level that has files
//
// What fails is answered by a line that begins with "error".

#include <arpa/inet.h>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <netinet/in.h>
#include <sstream>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

#include <leveldb/db.h>

static leveldb::DB *db;

static std::string answer(const leveldb::Status &s) { return s.ok() ? "ok\n" : "error " + s.ToString() + "\n"; }

static std::string scan(bool only_count)
{
	std::unique_ptr<leveldb::Iterator> it(db->NewIterator(leveldb::ReadOptions()));
	std::string out;
	size_t n = 0;
	for (it->SeekToFirst(); it->Valid(); it->Next(), n++)
		if (!only_count)
			out += it->key().ToString() + " " + it->value().ToString() + "\n";
	if (!it->status().ok())
		return answer(it->status());
	return only_count ? std::to_string(n) + "\n" : out + "end\n";
}

static std::string fill(int n, int size)
{
	const std::string value(size, 'x');
	for (int i = 0; i < n; i++) {
		char key[32];
		std::snprintf(key, sizeof key, "key%08d", i);
		leveldb::Status s = db->Put(leveldb::WriteOptions(), key, value);
		if (!s.ok())
			return answer(s);
	}
	return "ok\n";
}

static std::string stats()
{
	std::string out, files;
	for (int level = 0; level < 7; level++)
		if (db->GetProperty("leveldb.num-files-at-level" + std::to_string(level), &files) && files != "0")
			out += "level " + std::to_string(level) + " files " + files + "\n";
	return out;
}

static std::string execute(const std::string &line)
{
	std::istringstream in(line);
	std::string verb, key, value;
	in >> verb;
	if (verb == "ping")
		return "pong\n";
	if (verb == "scan" || verb == "count")
		return scan(verb == "count");
	if (verb == "stats")
		return stats();
	if (!(in >> key))
		return "error " + verb + ": not a request\n";
	std::getline(in >> std::ws, value);
	if (verb == "put")
		return answer(db->Put(leveldb::WriteOptions(), key, value));
	if (verb == "del")
		return answer(db->Delete(leveldb::WriteOptions(), key));
	if (verb == "fill")
		return fill(std::atoi(key.c_str()), std::atoi(value.c_str()));
	if (verb != "get")
		return "error " + verb + ": not a request\n";
	leveldb::Status s = db->Get(leveldb::ReadOptions(), key, &value);
	if (s.IsNotFound())
		return "not found\n";
	return s.ok() ? value + "\n" : answer(s);
}

// serve answers requests until the client has no more, or goes away.
static void serve(int fd)
{
	FILE *in = fdopen(fd, "r"), *out = fdopen(dup(fd), "w");
	char *line = nullptr;
	size_t room = 0;
	ssize_t n;
	while (in && out && (n = getline(&line, &room, in)) > 0) {
		std::string reply = execute(std::string(line, line[n - 1] == '\n' ? n - 1 : n));
		if (fwrite(reply.data(), 1, reply.size(), out) != reply.size() || fflush(out) != 0)
			break;
	}
	free(line);
	if (in)
		fclose(in);
	if (out)
		fclose(out);
}

static void fail(const std::string &what)
{
	std::fprintf(stderr, "kvserver: %s\n", what.c_str());
	std::exit(1);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		fail("usage: kvserver PORT DIRECTORY");
	signal(SIGPIPE, SIG_IGN);
	leveldb::Options options;
	options.create_if_missing = true;
	leveldb::Status s = leveldb::DB::Open(options, argv[2], &db);
	if (!s.ok())
		fail(s.ToString());
	int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	sockaddr_in addr = {};
	addr.sin_family = AF_INET;
	addr.sin_port = htons(std::atoi(argv[1]));
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(listener, reinterpret_cast<sockaddr *>(&addr), sizeof addr) != 0 || listen(listener, 16) != 0)
		fail(std::string("listening: ") + std::strerror(errno));
	std::printf("kvserver: serving %s on port %s\n", argv[2], argv[1]);
	std::fflush(stdout);
	for (;;) {
		int fd = accept(listener, nullptr, nullptr);
		if (fd >= 0)
			std::thread(serve, fd).detach();
		else if (errno != EINTR && errno != ECONNABORTED)
			fail(std::string("accepting: ") + std::strerror(errno));
	}
}
