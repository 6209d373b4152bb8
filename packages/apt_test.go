package packages

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSources(t *testing.T) {
	const list = `# the archive
deb http://deb.debian.org/debian bookworm main
deb [signed-by=/k.gpg] http://archive.ubuntu.com/ubuntu/ noble main universe
deb-src http://deb.debian.org/debian bookworm main
deb https://example.com/apt stable main
`
	const wantList = `deb http://deb.debian.org/debian bookworm main
deb-src http://deb.debian.org/debian bookworm main
deb [signed-by=/k.gpg] http://archive.ubuntu.com/ubuntu/ noble main universe
deb-src [signed-by=/k.gpg] http://archive.ubuntu.com/ubuntu/ noble main universe
`
	if got := listWithSources(list); got != wantList {
		t.Errorf("listWithSources = %q, want %q", got, wantList)
	}
	const sources = `Types: deb
# a comment
URIs: http://deb.debian.org/debian-security
Suites: bookworm-security

Types: deb
URIs: https://example.com/apt
Suites: stable

Enabled: no
Types: deb
URIs: http://deb.debian.org/debian
`
	const wantSources = `Types: deb deb-src
# a comment
URIs: http://deb.debian.org/debian-security
Suites: bookworm-security
`
	if got := sourcesWithSources(sources); got != wantSources {
		t.Errorf("sourcesWithSources = %q, want %q", got, wantSources)
	}
}

func TestWriteSources(t *testing.T) {
	etc, dir := t.TempDir(), t.TempDir()
	for _, d := range []string{"sources", "sources-old"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	a := apt{dir: dir}
	_, err := a.writeSources(etc)
	if _, ok := errors.AsType[*Error](err); !ok {
		t.Errorf("without archives: %v, want an *Error", err)
	}
	if err := os.WriteFile(filepath.Join(etc, "sources.list"), []byte("deb http://deb.debian.org/debian x main\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for i, want := range []bool{true, false} {
		if changed, err := a.writeSources(etc); changed != want || err != nil {
			t.Errorf("time %d: changed = %v, %v, want %v", i+1, changed, err, want)
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "sources", "sources.list"))
	if err != nil || !strings.Contains(string(text), "deb-src ") {
		t.Errorf("sources.list = %q, %v", text, err)
	}
}

func TestURILine(t *testing.T) {
	const out = "Reading package lists...\n'http://deb.debian.org/debian/pool/main/p/php8.2/php8.2-cli_8.2.29-1%7edeb12u1_amd64.deb' php8.2-cli_8.2.29-1~deb12u1_amd64.deb 1736948 MD5Sum:0\n"
	m := uriLine.FindAllStringSubmatch(out, -1)
	if len(m) != 1 || m[0][1] != "php8.2-cli_8.2.29-1~deb12u1_amd64.deb" {
		t.Errorf("uriLine finds %q", m)
	}
}

func TestWithoutUpdates(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"deb http://x/debian bookworm main\ndeb-src http://x/debian-security bookworm-security main\n", "deb http://x/debian bookworm main\n"},
		{"URIs: http://x/debian\nSuites: bookworm bookworm-updates\n\nURIs: http://x/debian-security\nSuites: bookworm-security\n", "URIs: http://x/debian\nSuites: bookworm \n"},
		{"deb http://x/ubuntu noble main\ndeb http://x/ubuntu noble-security/ main\n", "deb http://x/ubuntu noble main\n"},
	} {
		if got := strings.TrimRight(withoutUpdates(tt.in), "\n"); got != strings.TrimRight(tt.want, "\n") {
			t.Errorf("withoutUpdates(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}
