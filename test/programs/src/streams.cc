// streams checks iostreams and C++ locales: formatting, parsing, files,
// buffers of one's own, exceptions, wide characters, from several threads.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <locale>
#include <sstream>
#include <streambuf>
#include <string>
#include <thread>
#include <vector>

static void check(bool ok, const char *what)
{
	if (!ok) {
		std::printf("streams: %s failed\n", what);
		std::exit(1);
	}
}

static void formatting()
{
	std::ostringstream out;
	out << std::setw(6) << std::setfill('*') << 42 << ' ' << std::hex << std::showbase << 255 << ' ' << std::dec
	    << std::fixed << std::setprecision(3) << 3.14159 << ' ' << std::boolalpha << true << ' ' << std::scientific << 12345.678;
	check(out.str() == "****42 0xff 3.142 true 1.235e+04", "formatting");
}

static void parsing()
{
	std::istringstream in("17 0x1f 2.5 word rest of line\nnext");
	int a = 0, b = 0;
	double d = 0;
	std::string word, line;
	in >> a >> std::hex >> b >> std::dec >> d >> word;
	std::getline(in >> std::ws, line);
	check(in && a == 17 && b == 31 && d == 2.5 && word == "word" && line == "rest of line", "parsing");
	check(!(in >> a) && in.fail() && !in.bad(), "parsing what is no number");
	std::istringstream strict("x");
	strict.exceptions(std::ios::failbit);
	bool thrown = false;
	try {
		strict >> a;
	} catch (const std::ios_base::failure &) {
		thrown = true;
	}
	check(thrown, "an exception of a stream");
}

static void files()
{
	const char *name = "/tmp/streams.test";
	{
		std::ofstream out(name, std::ios::binary);
		for (int i = 0; i < 20000; i++)
			out << i << '\n';
		check(out.good(), "writing a file");
	}
	std::ifstream in(name);
	long sum = 0, n = 0;
	for (int i; in >> i; n++)
		sum += i;
	check(in.eof() && n == 20000 && sum == 199990000, "reading a file");
	std::fstream both(name, std::ios::in | std::ios::out);
	both.seekp(2);
	both << 'X';
	both.seekg(0);
	std::string first, second;
	both >> first >> second;
	check(first == "0" && second == "X", "seeking in a file");
	std::remove(name);
	check(!std::ifstream(name).is_open(), "a file that is gone");
}

// Upper is a buffer that turns what passes through to upper case.
class Upper : public std::streambuf {
	std::string text;
	int_type overflow(int_type c) override
	{
		text += std::toupper(traits_type::to_char_type(c), std::locale::classic());
		return c;
	}

public:
	const std::string &str() const { return text; }
};

// Comma groups digits by three, as some countries do.
struct Comma : std::numpunct<char> {
	char do_thousands_sep() const override { return '\''; }
	std::string do_grouping() const override { return "\3"; }
};

static void locales()
{
	Upper buffer;
	std::ostream out(&buffer);
	out.imbue(std::locale(std::locale::classic(), new Comma));
	out << "kiln " << 1234567;
	check(buffer.str() == "KILN 1'234'567", "a facet and a buffer of our own");

	std::locale utf8("C.UTF-8");
	check(utf8.name() == "C.UTF-8", "the locale C.UTF-8");
	const wchar_t wide[] = L"z\u00fcrich";
	check(std::use_facet<std::ctype<wchar_t>>(utf8).toupper(wide[1]) == 0xdc, "wide characters");
	{
		std::wofstream file("/tmp/streams.wide");
		file.imbue(utf8);
		file << wide;
	}
	std::ifstream back("/tmp/streams.wide");
	std::string bytes;
	std::getline(back, bytes);
	check(bytes == "z\xc3\xbcrich", "conversion to UTF-8");
	bool thrown = false;
	try {
		std::locale("xx_XX");
	} catch (const std::runtime_error &) {
		thrown = true;
	}
	check(thrown, "a locale that there is none");
}

static void threads()
{
	std::vector<std::thread> all;
	std::vector<std::string> results(8);
	for (int t = 0; t < 8; t++)
		all.emplace_back([t, &results] {
			std::ostringstream out;
			for (int i = 0; i < 500; i++)
				out << t * 1000 + i << ' ';
			results[t] = out.str();
		});
	for (auto &t : all)
		t.join();
	for (int t = 0; t < 8; t++)
		check(std::count(results[t].begin(), results[t].end(), ' ') == 500, "streams in threads");
}

int main()
{
	formatting();
	parsing();
	files();
	locales();
	threads();
	std::cout << "streams: " << std::flush;
	std::cerr << "";
	std::cout << "ok" << std::endl;
}
