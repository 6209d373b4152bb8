package bake

import (
	"debug/elf"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A needProgram is a program that shows the sign of a need.
type needProgram struct {
	need, source, library string
	args                  []string
	path                  string
}

// needPrograms has for each need programs that show one of its signs, and a
// path that the image has then. A source that is empty is an ELF file of the
// test's own, that needs library.
var needPrograms = []needProgram{
	{need: "locale C.UTF-8", source: `#include <locale.h>
		int main(void) { return !setlocale(LC_ALL, "C.UTF-8"); }`, path: localeDir + "/LC_CTYPE"},
	{need: "time zones", source: `#include <time.h>
		int main(void) { time_t t = 0; return localtime(&t)->tm_hour; }`, path: "/usr/share/zoneinfo/Europe/Berlin"},
	{need: "time zones", source: `#include <time.h>
		int main(void) { time_t t = 0; return localtime(&t)->tm_hour; }`, args: []string{"-static"}, path: "/usr/share/zoneinfo/Europe/Berlin"},
	{need: "time zones", source: `#include <time.h>
		int main(void) { tzset(); return 0; }`, args: []string{"-s", "-Wl,--hash-style=sysv"}, path: "/usr/share/zoneinfo/Europe/Berlin"},
	{need: "certificates", source: `#include <stdio.h>
		int main(void) { return !fopen("/etc/ssl/certs/ca-certificates.crt", "r"); }`, path: "/etc/ssl/certs/ca-certificates.crt"},
	{need: "shell", source: `#include <stdlib.h>
		int main(void) { return system("true"); }`, path: "/bin/sh"},
	{need: "shell", source: `#include <stdlib.h>
		int main(void) { return system("true"); }`, args: []string{"-static"}, path: "/bin/sh"},
	{need: "shell", source: `#include <stdio.h>
		int main(void) { return !popen("true", "r"); }`, args: []string{"-s"}, path: "/bin/sh"},
	{need: "names of services", source: `#include <netdb.h>
		int main(void) { return !getservbyname("http", "tcp"); }`, path: "/etc/services"},
	{need: "names of RPC programs", source: `#include <stdio.h>
		int main(void) { return !fopen("/etc/rpc", "r"); }`, path: "/etc/rpc"},
	{need: "kinds of files by name", source: `#include <stdio.h>
		int main(void) { return !fopen("/etc/mime.types", "r"); }`, path: "/etc/mime.types"},
	{need: "character sets", source: `#include <iconv.h>
		int main(void) { return iconv_open("KOI8-R", "UTF-8") == (iconv_t)-1; }`, path: "/usr/lib/x86_64-linux-gnu/gconv/KOI8-R.so"},
	{need: "terminals", library: "libtinfo.so.6", path: "/lib/terminfo/l/linux"},
	{need: "OpenSSL's configuration", library: "libcrypto.so.3", path: "/usr/lib/x86_64-linux-gnu/ossl-modules/legacy.so"},
	{need: "certificates", library: "libssl.so.3", path: "/etc/ssl/certs/ca-certificates.crt"},
	{need: "kinds of files by content", library: "libmagic.so.1", path: "/usr/share/misc/magic.mgc"},
	{need: "PAM", library: "libpam.so.0", path: "/etc/pam.d/other"},
	{need: "PAM", library: "libpam.so.0", path: "/lib/x86_64-linux-gnu/security/pam_unix.so"},
	{need: "SASL", library: "libsasl2.so.2", path: "/usr/lib/x86_64-linux-gnu/sasl2"},
}

// isOlder are needs that this machine's C library may not have.
var isOlder = []string{"name services"}

// TestNeeds bakes programs that show the signs of needs.
func TestNeeds(t *testing.T) {
	for _, tt := range needPrograms {
		p, err := filepath.EvalSymlinks(tt.path)
		if err != nil {
			t.Logf("skipped: %s: this machine has no %s", tt.need, tt.path)
			continue
		}
		bin := filepath.Join(t.TempDir(), "program")
		if tt.source != "" {
			compile(t, tt.source, append([]string{"-o", bin}, tt.args...)...)
		} else {
			elfFile{typ: elf.ET_DYN, interp: defaultLoader, needed: []string{tt.library}}.write(t, bin)
		}
		b, _, err := fill(Options{Program: bin})
		if err != nil {
			t.Errorf("%s %q: %v", tt.need, tt.args, err)
			continue
		}
		if e := b.root.lookup(tt.path); e == nil || e.mode.IsRegular() && e.host != p {
			t.Errorf("%s %q: %s is %+v, want the host's %s", tt.need, tt.args, tt.path, e, p)
		}
		if !b.met[tt.need] && tt.need != "character sets" {
			t.Errorf("%s %q: the need was not met", tt.need, tt.args)
		}
	}
	for _, n := range needs {
		if !slices.Contains(isOlder, n.name) && !slices.ContainsFunc(needPrograms, func(p needProgram) bool { return p.need == n.name }) {
			t.Errorf("no program of this test has the need %q", n.name)
		}
	}
}

// TestNoNeeds bakes programs that look for nothing: they get nothing.
func TestNoNeeds(t *testing.T) {
	for name, tt := range map[string]struct {
		source string
		args   []string
	}{
		"hello":         {source: `#include <stdio.h>` + "\n" + `int main(void) { puts("hello"); return 0; }`},
		"hello, static": {source: `#include <stdio.h>` + "\n" + `int main(void) { puts("hello"); return 0; }`, args: []string{"-static"}},
		// The call is the program's own.
		"own system": {source: `int system(const char *s) { return !s; } int main(void) { return system(""); }`, args: []string{"-rdynamic"}},
	} {
		bin := filepath.Join(t.TempDir(), "program")
		compile(t, tt.source, append([]string{"-o", bin}, tt.args...)...)
		b, _, err := fill(Options{Program: bin})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for p, e := range b.root.entries {
			// A static glibc names the folder of its locales whatever the
			// program does.
			if e.from == fromRuntime && !e.mode.IsDir() {
				t.Errorf("%s: the image has %s", name, p)
			}
		}
	}
}

// TestRootBeforeNeeds bakes from a folder that has what the program looks for:
// the host's does not take its place.
func TestRootBeforeNeeds(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"usr/share/zoneinfo/Mars/Base": "TZif", "bin/sh": "mine"})
	bin := filepath.Join(t.TempDir(), "program")
	compile(t, `#include <stdlib.h>
		#include <time.h>
		int main(void) { tzset(); return system("true"); }`, "-o", bin)
	b, _, err := fill(Options{Program: bin, Add: []string{dir + "/usr:/usr", dir + "/bin/sh:/bin/sh"}})
	if err != nil {
		t.Fatal(err)
	}
	if b.root.lookup("/usr/share/zoneinfo/Europe") != nil {
		t.Error("the image has time zones of the host beside its own")
	}
	if got := b.root.hostFile("/bin/sh"); got != filepath.Join(dir, "bin/sh") {
		t.Errorf("/bin/sh is %s", got)
	}
}

// TestSecretsStay: of what a need adds, only what everybody may read is taken.
func TestSecretsStay(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"conf/open": "x", "conf/secret": "x", "conf/closed/x": "x"})
	for name, mode := range map[string]os.FileMode{"conf/secret": 0o640, "conf/closed": 0o700} {
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	links(t, dir, map[string]string{"conf/link": "secret", "conf/dangling": "/kiln/none"})
	b, _ := testBaker(t)
	if err := b.addIfThere(filepath.Join(dir, "conf"), filepath.Join(dir, "conf/secret"), filepath.Join(dir, "none")); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"open": true, "dangling": true, "secret": false, "closed": false, "link": false} {
		at, err := b.root.resolve(filepath.Join(dir, "conf", name), false)
		if err != nil {
			t.Fatal(err)
		}
		if got := b.root.entries[at] != nil; got != want {
			t.Errorf("%s is in the image: %v, want %v", name, got, want)
		}
	}
}

func TestGlibcMinor(t *testing.T) {
	p := filepath.Join(t.TempDir(), "libc.so.6")
	for text, want := range map[string]int{
		"\x00GNU C Library (Debian GLIBC 2.31-13+deb11u11) stable release version 2.31.\n": 31,
		"GNU C Library (Ubuntu GLIBC 2.39-0ubuntu8) stable release version 2.39.\n":        39,
		"GNU C Library (GNU libc) development release version 2.40.9000.\n":                40,
		"musl libc (x86_64)": 0, "": 0,
	} {
		writeBytes(t, p, []byte(text))
		if got := glibcMinor(p); got != want {
			t.Errorf("glibcMinor of %q = %d, want %d", text, got, want)
		}
	}
	if got := glibcMinor(p + ".none"); got != 0 {
		t.Errorf("glibcMinor of nothing = %d", got)
	}
}

func TestOwnPaths(t *testing.T) {
	lua := "/usr/share/" // of a folder that every machine has
	entries, err := os.ReadDir(lua)
	if err != nil {
		t.Skip(err)
	}
	var own string
	for _, e := range entries {
		if e.IsDir() && ofOneProgram(lua+e.Name()) && compiledIn.FindString(lua+e.Name()) == lua+e.Name() {
			own = lua + e.Name()
			break
		}
	}
	if own == "" {
		t.Skip("this machine has no folder of one program in /usr/share")
	}
	for text, want := range map[string]string{
		"\x00" + own + "\x00":                                 own,
		"path=" + own + "/?.lua;" + own + "/?/i.lua":          own,
		own + "/%s.conf":                                      own,
		own + " " + own + "/":                                 own,
		"\x00" + strings.TrimPrefix(own, "/usr/") + "\x00":    own,
		"\x00" + strings.TrimPrefix(own, "/usr/") + "%s\x00":  "",
		"of " + strings.TrimPrefix(own, "/usr/") + "\x00":     "",
		"\x00share/locale\x00libexec\x00share/../share/x\x00": "",
		"/build" + own:                                        "", // the end of another path
		own + "-none":                                         "",
		"/usr/share/locale /usr/lib/x86_64-linux-gnu /usr/share/doc /usr/lib /usr/share": "",
		"/usr/share/../../etc": "", "": "",
	} {
		if got := strings.Join(ownPaths([]byte(text)), " "); got != want {
			t.Errorf("ownPaths(%q) = %q, want %q", text, got, want)
		}
	}
}

func FuzzOwnPaths(f *testing.F) {
	f.Add([]byte("/usr/share/lua/5.4/?.lua;/usr/lib/x\x00"))
	f.Add([]byte("/usr/share/?"))
	f.Add([]byte("\x00share/x\x00libexec/y/z\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, p := range ownPaths(b) {
			if !ofOneProgram(p) || filepath.Clean(p) != p {
				t.Errorf("ownPaths(%q) has %q", b, p)
			}
		}
	})
}

func TestShellCommands(t *testing.T) {
	for script, want := range map[string]string{
		"#!/bin/sh\nls -l\n":                                             "ls",
		"x=`dirname \"$0\"`\ny=$(basename \"$x\")\n":                     "basename dirname",
		"if [ -x /usr/bin/tool ]; then exec /usr/bin/tool \"$@\"; fi":    "/usr/bin/tool",
		"f() { sed s/a/b/; }\nf | sort | uniq -c >/dev/null":             "sed sort uniq",
		"cd /; echo hi; . /lib/x; export A=1; A=2 grep x y && test -f z": "grep",
		"nohup nice -n env A=b daemon &":                                 "daemon env nice nohup",
		"\"$CMD\" ls; $CMD ls":                                           "",
		"for i in a b; do touch $i; done; case $x in y) rm z;; esac":     "rm touch",
		"cat <<EOF\nls\n$(date)\nEOF":                                    "cat date",
		"if then ((":                                                     "",
		"":                                                               "",
	} {
		if got := strings.Join(shellCommands([]byte(script)), " "); got != want {
			t.Errorf("shellCommands(%q) = %q, want %q", script, got, want)
		}
	}
}
