package packages

import (
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// good is a recipe with everything that must be there.
const good = `
about = "a test"
[source]
debian = ["hello"]
[build]
needs = ["bison"]
script = "make"
[image]
program = "/usr/bin/hello"
ports = ["80:8080"]
owners = ["/srv=26"]
[[check]]
name = "it serves"
needs = ["curl"]
ready = "true"
script = "curl"
timeout = "3m"
`

func TestParse(t *testing.T) {
	r, err := parse("hello", good)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Needs(); !slices.Contains(got, "bison") || !slices.Contains(got, "curl") || !slices.Contains(got, "dpkg-dev") || !slices.IsSorted(got) {
		t.Errorf("Needs = %q", got)
	}
	for _, tt := range []struct{ old, new, word string }{
		{`about = "a test"`, ``, "about"},
		{`about = "a test"`, `about = 7`, "about"},
		{`about = "a test"`, `about = "unclosed`, "line 2"},
		{`about = "a test"`, "about = \"a\"\nabut = 1", "abut"},
		{`debian = ["hello"]`, ``, "exactly one"},
		{`debian = ["hello"]`, "debian = [\"hello\"]\ngo = \"example.com/x@v1\"", "exactly one"},
		{`debian = ["hello"]`, `go = "example.com/x"`, "PACKAGE@VERSION"},
		{`debian = ["hello"]`, `debian = ["hello; rm"]`, "hello; rm"},
		{`debian = ["hello"]`, "debian = [\"hello\"]\nunpack = [\"x\"]", "unpack"},
		{`debian = ["hello"]`, "debs = [\"hello\"]\nunpack = [\"[\"]", "pattern"},
		{`script = "make"`, ``, "build.script"},
		{`needs = ["bison"]`, `needs = ["--force"]`, "--force"},
		{`program = "/usr/bin/hello"`, `program = "hello"`, "image.program"},
		{`program = "/usr/bin/hello"`, "program = \"/hello\"\nroot = \"../etc\"", "image.root"},
		{`program = "/usr/bin/hello"`, "program = \"/hello\"\nuser = \"me\"", "image.user"},
		{`"80:8080"`, `"80"`, "HOST:GUEST"},
		{`"80:8080"`, `"80:99999"`, "HOST:GUEST"},
		{`"/srv=26"`, `"/srv=me"`, "/srv=me"},
		{`ports = ["80:8080"]`, ``, "image.ports"},
		{`name = "it serves"`, ``, "check 1"},
		{`timeout = "3m"`, `timeout = "3 minutes"`, "3 minutes"},
		{good[strings.Index(good, "[[check]]"):], "", "no check"},
	} {
		text := strings.Replace(good, tt.old, tt.new, 1)
		_, err := parse("hello", text)
		if _, ok := errors.AsType[*Error](err); !ok || !strings.Contains(err.Error(), tt.word) || !strings.Contains(err.Error(), "hello") || strings.Contains(err.Error(), "\n") {
			t.Errorf("with %q for %.30q: %v, want an *Error with %q in one line", tt.new, tt.old, err, tt.word)
		}
	}
}

// TestRecipes reads all recipes that come with Kiln.
func TestRecipes(t *testing.T) {
	names := Names()
	if len(names) == 0 {
		t.Fatal("there are no recipes")
	}
	for _, n := range names {
		r, err := Load(n)
		if err != nil {
			t.Error(err)
			continue
		}
		if again, err := r.stamp(); err != nil || len(again) != 65 {
			t.Errorf("%s: stamp %q, %v", n, again, err)
		}
	}
}

// TestDocumented compares the table of docs/packages.md with what there is.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/packages.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for _, m := range regexp.MustCompile(`(?m)^\| ([a-z0-9-]+) \|`).FindAllStringSubmatch(string(text), -1) {
		rows = append(rows, m[1])
	}
	slices.Sort(rows)
	if names := Names(); !slices.Equal(rows, names) {
		t.Errorf("docs/packages.md lists %q, there are %q", rows, names)
	}
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"no-such-package", "..", ".", "", dir, dir + "/none"} {
		_, err := Load(name)
		if _, ok := errors.AsType[*Error](err); !ok {
			t.Errorf("Load(%q) = %v, want an *Error", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(good)
	f.Add("[image]\nprogram = 1")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := parse("x", text); err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("an error of several lines: %q", err)
		}
	})
}

func TestGuestPort(t *testing.T) {
	if got, err := guestPort("80:8080"); got != "8080" || err != nil {
		t.Errorf("guestPort = %q, %v", got, err)
	}
}
