// cxx checks what C++ adds to a process's start, threads and unwinding:
// constructor priorities, thread_local objects, exceptions through threads.

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>
#include <atomic>

// order records which constructor ran when. It is zero-initialised, so it
// exists before every constructor.
static char order[8];
static int placed;

struct Mark {
	explicit Mark(char c) { order[placed++] = c; }
};

// Priorities are the reverse of the order in this file.
static Mark last __attribute__((init_priority(300)))('c');
static Mark middle __attribute__((init_priority(200)))('b');
static Mark first __attribute__((init_priority(101)))('a');

__attribute__((constructor)) static void plain() { order[placed++] = 'd'; }

static std::atomic<int> alive, made;

// PerThread counts its constructions and destructions over all threads.
struct PerThread {
	int value = 7;
	PerThread() { alive++; made++; }
	~PerThread() { alive--; }
};

static thread_local PerThread slot;
static thread_local int plain_tls = 40;

// thrower unwinds n frames, each with a destructor to run.
static int unwound;
struct Unwind {
	~Unwind() { unwound++; }
};

static void thrower(int n)
{
	Unwind u;
	if (n == 0)
		throw std::runtime_error("thrown");
	thrower(n - 1);
}

static void check(bool ok, const char *what)
{
	if (!ok) {
		std::printf("cxx: %s failed\n", what);
		std::exit(1);
	}
}

static void exceptions_in_threads()
{
	std::atomic<int> caught{0};
	std::vector<std::thread> threads;
	for (int i = 0; i < 8; i++)
		threads.emplace_back([&caught, i] {
			slot.value += i;
			plain_tls += i;
			for (int k = 0; k < 100; k++) {
				try {
					throw i;
				} catch (int got) {
					if (got == i)
						caught++;
				}
			}
			check(slot.value == 7 + i, "thread_local object");
			check(plain_tls == 40 + i, "thread_local integer");
		});
	for (auto &t : threads)
		t.join();
	check(caught == 800, "exceptions in threads");
	check(made == 8, "thread_local constructors");
	check(alive == 0, "thread_local destructors");
}

int main()
{
	check(std::string(order, placed) == "abcd", "constructor order");

	bool caught = false;
	try {
		thrower(50);
	} catch (const std::exception &e) {
		caught = std::string(e.what()) == "thrown";
	}
	check(caught && unwound == 51, "unwinding");

	exceptions_in_threads();

	std::exception_ptr carried;
	std::thread([&carried] {
		try {
			std::vector<int>().at(3);
		} catch (...) {
			carried = std::current_exception();
		}
	}).join();
	try {
		std::rethrow_exception(carried);
	} catch (const std::out_of_range &) {
		std::puts("cxx: ok");
		return 0;
	}
	check(false, "exception carried between threads");
}
