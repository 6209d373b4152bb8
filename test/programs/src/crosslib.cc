// crosslib checks C++ across the border of a shared library: exceptions and
// types that pass it in both directions, objects that a library makes before
// main. -DLIBRARY compiles the library, -DPROGRAM the program; without either
// it is all in one.

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <typeinfo>

class Shape {
public:
	virtual ~Shape() = default;
	virtual double area() const = 0;
};

class Square : public Shape {
public:
	explicit Square(double side) : side(side) {}
	~Square() override;
	double area() const override;
	double side;
};

class LibraryError : public std::runtime_error {
public:
	LibraryError(const std::string &what, int code) : std::runtime_error(what), code(code) {}
	~LibraryError() override;
	int code;
};

std::unique_ptr<Shape> make_square(double side);
void throw_from_library(int depth);
int call_back(const std::function<int(int)> &f, int n);
extern int library_ready, squares_gone;
extern thread_local int library_local;
int next_local();

#ifndef PROGRAM

Square::~Square() { squares_gone++; }
double Square::area() const { return side * side; }
LibraryError::~LibraryError() = default;
std::unique_ptr<Shape> make_square(double side) { return std::make_unique<Square>(side); }

struct Ready {
	std::string text = "made before main";
	Ready() { library_ready = 17; }
};
int library_ready, squares_gone;
static Ready ready;

thread_local int library_local = 100;
int next_local() { return ++library_local; }

void throw_from_library(int depth)
{
	Square unwound(depth);
	if (depth == 0)
		throw LibraryError("thrown: " + ready.text, 7);
	throw_from_library(depth - 1);
}

// call_back catches what f throws, and throws it on.
int call_back(const std::function<int(int)> &f, int n)
{
	try {
		return f(n) + 1;
	} catch (const std::out_of_range &) {
		throw;
	} catch (const std::exception &e) {
		throw LibraryError(std::string("caught: ") + e.what(), n);
	}
}

#endif
#ifndef LIBRARY

static void check(bool ok, const char *what)
{
	if (!ok) {
		std::printf("crosslib: %s failed\n", what);
		std::exit(1);
	}
}

int main()
{
	check(library_ready == 17, "an object of the library");

	std::unique_ptr<Shape> shape = make_square(3);
	check(shape->area() == 9 && dynamic_cast<Square *>(shape.get()) != nullptr && typeid(*shape) == typeid(Square), "types");
	shape.reset();
	check(squares_gone == 1, "a destructor in the library");

	bool caught = false;
	try {
		throw_from_library(20);
	} catch (const LibraryError &e) {
		caught = e.code == 7 && std::string(e.what()) == "thrown: made before main";
	}
	check(caught && squares_gone == 22, "an exception from the library");

	check(call_back([](int n) { return n * 2; }, 21) == 43, "a call back");
	caught = false;
	try {
		call_back([](int) -> int { throw std::logic_error("ours"); }, 5);
	} catch (const std::runtime_error &e) {
		const LibraryError *le = dynamic_cast<const LibraryError *>(&e);
		caught = le && le->code == 5 && std::string(e.what()) == "caught: ours";
	}
	check(caught, "an exception through the library, replaced");
	caught = false;
	try {
		call_back([](int n) -> int { return std::string("x").at(n); }, 5);
	} catch (const std::out_of_range &) {
		caught = true;
	}
	check(caught, "an exception through the library, as it is");

	library_local += 5;
	check(next_local() == 106 && library_local == 106, "a thread-local variable of the library");
	std::puts("crosslib: ok");
}

#endif
