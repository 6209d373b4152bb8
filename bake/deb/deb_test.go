package deb

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// status is a database of packages that are installed: one is not, one is for
// another machine.
const status = `Package: app
Status: install ok installed
Architecture: amd64
Version: 1:2.0-1
Pre-Depends: libc (>= 2.36)
Depends: virtual | other, data (>= 1.0~rc1), adduser, perl:any
Conffiles:
 /etc/app.conf d41d8cd98f00b204e9800998ecf8427e
 /etc/app.old 0cc175b9c0f1b6a831c399e269772661 obsolete
Description: a program
 with a longer
 .
 description: of it

Package: libc
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Version: 2.36-9

Package: libc
Status: install ok installed
Architecture: i386
Multi-Arch: same
Version: 2.36-9

Package: provider
Status: install ok triggers-pending
Architecture: all
Version: 3
Provides: virtual, versioned (= 4)

Package: data
Status: hold ok installed
Architecture: all
Version: 1.0

Package: perl
Status: install ok installed
Architecture: amd64
Version: 5

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1
Depends: nothing-at-all

Package: broken
Status: install ok installed
Architecture: amd64
Version: 1
Depends: data (>> 1.0) | gone

Package: wants-version
Status: install ok installed
Architecture: amd64
Version: 1
Depends: versioned (>= 4), adduser | virtual

Package: wants-more
Status: install ok installed
Architecture: amd64
Version: 1
Depends: virtual (>= 1)
`

// testDatabase writes a database of packages and opens it.
func testDatabase(t *testing.T, files map[string]string) *Database {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "dpkg")
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d, err := OpenDatabase(dir)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestFindInstalled(t *testing.T) {
	d := testDatabase(t, map[string]string{"status": status})
	tests := []struct {
		names []string
		want  string // the packages, or the error
	}{
		{[]string{"app"}, "app data libc perl provider"},
		{[]string{"data", "libc"}, "data libc"},
		{[]string{"wants-version"}, "provider wants-version"},
	}
	for _, tt := range tests {
		set, err := Find(t.Context(), d, tt.names, t.TempDir(), t.Logf)
		if err != nil {
			t.Errorf("Find(%v): %v", tt.names, err)
			continue
		}
		var got []string
		for _, p := range set.Packages {
			got = append(got, p.Name)
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("Find(%v) = %s, want %s", tt.names, s, tt.want)
		}
		if set.Named[0].Name != tt.names[0] {
			t.Errorf("Find(%v) says that %s was named", tt.names, set.Named[0].Name)
		}
	}
}

// TestFindMissing has packages that lack something, and names that are none.
// None of them reaches apt-get.
func TestFindMissing(t *testing.T) {
	d := testDatabase(t, map[string]string{"status": status})
	for name, want := range map[string]string{
		"broken": "package broken depends on data or gone, which is not installed", "wants-more": "package wants-more depends on virtual, which is not installed",
		"No": `"No" is neither`, "--simulate": `"--simulate" is neither`, "a": `"a" is neither`, "../x": `"../x" is neither`,
	} {
		_, err := Find(t.Context(), d, []string{name}, t.TempDir(), t.Logf)
		if e, ok := errors.AsType[*Error](err); !ok || !strings.HasPrefix(e.Error(), want) {
			t.Errorf("Find(%s): %v, want %s", name, err, want)
		}
	}
	_, err := OpenDatabase(t.TempDir())
	if _, ok := errors.AsType[*Error](err); !ok {
		t.Errorf("a folder without a database: %v, want an *Error", err)
	}
}

// TestInstalledFiles lists the files of an installed package: diverted ones,
// changed configuration, compiled Python, links in its folders of /etc.
func TestInstalledFiles(t *testing.T) {
	host := t.TempDir()
	for name, text := range map[string]string{
		"bin/tool": "tool", "bin/sh.distrib": "sh", "etc.conf": "x", "py/m.py": "pass", "py/__pycache__/m.cpython-311.pyc": "compiled",
		"py/__pycache__/mm.cpython-311.pyc": "of another",
	} {
		name = filepath.Join(host, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	in := strings.NewReplacer("HOST", host)
	d := testDatabase(t, map[string]string{
		"status": in.Replace("Package: pp\nStatus: install ok installed\nArchitecture: amd64\nMulti-Arch: same\nVersion: 1\n" +
			"Conffiles:\n HOST/etc.conf d41d8cd98f00b204e9800998ecf8427e\n"),
		"info/pp:amd64.list": in.Replace("/.\nHOST\nHOST/bin\nHOST/bin/tool\nHOST/bin/sh\nHOST/etc.conf\nHOST/missing\nHOST/py/m.py\n" +
			"/usr/share/doc/p\n/usr/share/doc/p/changelog.gz\n/usr/share/man/man1/p.1.gz\n"),
		"diversions": in.Replace("HOST/bin/sh\nHOST/bin/sh.distrib\nother\n"),
	})
	list := func(has bool) (out, missing []string) {
		files, err := d.files(d.installed["pp"], func(string) bool { return has }, func(p string) { missing = append(missing, strings.TrimPrefix(p, host)) })
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			line := strings.TrimPrefix(f.Path, host)
			if f.Mode.IsRegular() {
				line += "=" + strings.TrimPrefix(f.Host, host)
			}
			if f.Changed {
				line += " changed"
			}
			out = append(out, line)
		}
		return out, missing
	}
	got, missing := list(false)
	want := []string{"", "/bin", "/bin/tool=/bin/tool", "/bin/sh=/bin/sh.distrib", "/etc.conf=/etc.conf changed", "/py/m.py=/py/m.py",
		"/py/__pycache__/m.cpython-311.pyc=/py/__pycache__/m.cpython-311.pyc"}
	if !slices.Equal(got, want) || !slices.Equal(missing, []string{"/missing"}) {
		t.Errorf("files are\n%q, missing %q, want\n%q and /missing", got, missing, want)
	}
	if got, _ := list(true); !slices.Contains(got, "/bin/sh.distrib=/bin/sh.distrib") {
		t.Errorf("beside the package that diverts it, files are %q", got)
	}
}

func TestIsDoc(t *testing.T) {
	for p, want := range map[string]bool{
		"/usr/share/doc": true, "/usr/share/doc/p": true, "/usr/share/doc/p/README": true, "/usr/share/doc/p/copyright": false,
		"/usr/share/man/copyright": true, "/usr/share/docs": false, "/usr/share/locale/de": true, "/usr/bin/man": false,
	} {
		if got := isDoc(p); got != want {
			t.Errorf("isDoc(%s) = %v, want %v", p, got, want)
		}
	}
}

func TestParsePlan(t *testing.T) {
	got := parsePlan(`NOTE: This is only a simulation!
Inst libevent-2.1-7 (2.1.12-stable-8 Debian:12.5/stable [amd64])
Inst upgraded [1.0-1] (1.0-2 Debian-Security:12/stable-security [amd64]) []
Inst local (1:2.0 local-deb [all])
Inst other:i386 (1 Debian:12.5/stable [i386])
Inst -o (1 Debian:12.5/stable [amd64])
Inst option (-o Debian:12.5/stable [amd64])
Conf libevent-2.1-7 (2.1.12-stable-8 Debian:12.5/stable [amd64])
Remv old [1]
`)
	want := []planned{{"libevent-2.1-7", "2.1.12-stable-8"}, {"upgraded", "1.0-2"}, {"local", "1:2.0"}}
	if !slices.Equal(got, want) {
		t.Errorf("parsePlan = %v, want %v", got, want)
	}
}

func TestReadScript(t *testing.T) {
	tests := []struct {
		text   string
		want   Setup
		unread []string
	}{
		{text: "#!/bin/sh\nadduser --quiet redis\n", want: Setup{Users: []User{{Name: "redis"}}}},
		{text: "adduser --system --group --home /var/lib/x --gecos 'A B' --no-create-home \\\n --shell /bin/false x >/dev/null || true",
			want: Setup{Users: []User{{Name: "x", Comment: "A B", Home: "/var/lib/x", Shell: "/bin/false"}}}},
		{text: "if ! getent passwd x; then adduser --system x; fi", want: Setup{Users: []User{{Name: "x", Group: "nogroup"}}}},
		{text: "adduser x y; addgroup --system z; groupadd -r w", want: Setup{Members: []Member{{"x", "y"}}, Groups: []string{"z", "w"}}},
		{text: `useradd -r -M -d /x -s /bin/false -g g -G a,b -c "C" u`,
			want: Setup{Users: []User{{Name: "u", Group: "g", Comment: "C", Home: "/x", Shell: "/bin/false"}}, Members: []Member{{"u", "a"}, {"u", "b"}}}},
		{text: "D=/var/lib/x\nU=u\nmkdir -p $D \"${D}/sub\"\nchown -R $U:g \"$D\"\nchmod 0750 $D",
			want: Setup{Changes: []Change{{Path: "/var/lib/x", Make: fs.ModeDir, Makes: true}, {Path: "/var/lib/x/sub", Make: fs.ModeDir, Makes: true},
				{Path: "/var/lib/x", Owner: "u", Group: "g", Recursive: true}, {Path: "/var/lib/x", Mode: 0o750, HasMode: true}}}},
		{text: "install -o u -g g -m 2755 -d /var/x; install -dm0700 /var/y; install -m 644 /a /b",
			want: Setup{Changes: []Change{{Path: "/var/x", Make: fs.ModeDir, Makes: true, Owner: "u", Group: "g", Mode: 0o2755, HasMode: true},
				{Path: "/var/y", Make: fs.ModeDir, Makes: true, Mode: 0o700, HasMode: true}}}},
		{text: "ln -sf /etc/a /etc/b; cp -p /usr/share/a /etc/c; ucf --three-way /usr/share/d /etc/d; ucf --purge /etc/e; touch /var/log/x",
			want: Setup{Changes: []Change{{Path: "/etc/b", Make: fs.ModeSymlink, Makes: true, From: "/etc/a"}, {Path: "/etc/c", Makes: true, From: "/usr/share/a"},
				{Path: "/etc/d", Makes: true, From: "/usr/share/d"}, {Path: "/var/log/x", Makes: true}}}},
		{text: "dpkg-statoverride --update --add root mail 02755 /usr/bin/x; dpkg-statoverride --list /x",
			want: Setup{Changes: []Change{{Path: "/usr/bin/x", Owner: "root", Group: "mail", Mode: 0o2755, HasMode: true}}}},
		{text: "update-alternatives --quiet --install /usr/bin/awk awk /usr/bin/mawk 5 --slave /usr/bin/nawk nawk /usr/bin/mawk",
			want: Setup{Alternatives: []Alternative{{"awk", "/usr/bin/awk", "/usr/bin/mawk", 5, []Slave{{"nawk", "/usr/bin/nawk", "/usr/bin/mawk"}}}}}},
		{text: "X=$(id)\nX=a$X\nchown $X /var/x; chown $1 /x; mkdir `pwd`; chmod u+x /y; chown u relative; chown u /var/*",
			unread: []string{"chown", "chown", "mkdir", "chmod"}},
		{text: "X='a b'; chown $X /var/x; update-alternatives --install /a ../b /c 1; adduser --no-such-flag x",
			unread: []string{"chown", "update-alternatives", "adduser"}},
		{text: "#!/usr/bin/perl\nuse strict; my %h = (a => 1);\n"},
	}
	for _, tt := range tests {
		var unread []string
		got := readScript(tt.text, func(c string) { unread = append(unread, c) })
		if !reflect.DeepEqual(*got, tt.want) || !slices.Equal(unread, tt.unread) {
			t.Errorf("readScript(%s) =\n%+v, unread %v, want\n%+v, %v", tt.text, *got, unread, tt.want, tt.unread)
		}
	}
}

func TestReadSysusers(t *testing.T) {
	var got Setup
	got.ReadSysusers("# u comment\n\nu app - \"An app\" /var/lib/app /bin/sh\nu! plain 999\ng grp -\nm app grp\nu %i - x\nr - 1-2\n")
	want := Setup{Users: []User{{Name: "app", Comment: "An app", Home: "/var/lib/app", Shell: "/bin/sh"}, {Name: "plain"}},
		Groups: []string{"grp"}, Members: []Member{{"app", "grp"}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("ReadSysusers makes %+v, want %+v", got, want)
	}
}

func TestAlternatives(t *testing.T) {
	all := parseAlternative("kiln-test", "auto\n/usr/bin/x\nx.1\n/man/x.1\nxx\n/usr/bin/xx\n\n/opt/a\n10\n\n/opt/aa\n/opt/b\n50\n/man/b\n/opt/bb\n\n")
	want := []Alternative{{"kiln-test", "/usr/bin/x", "/opt/a", 10, []Slave{{"xx", "/usr/bin/xx", "/opt/aa"}}},
		{"kiln-test", "/usr/bin/x", "/opt/b", 50, []Slave{{"x.1", "/man/x.1", "/man/b"}, {"xx", "/usr/bin/xx", "/opt/bb"}}}}
	if !reflect.DeepEqual(all, want) {
		t.Fatalf("parseAlternative = %+v, want %+v", all, want)
	}
	for have, want := range map[string]string{"/opt/a": "/opt/a", "/opt/b": "/opt/b", "/opt/a /opt/b /opt/bb": "/opt/b", "/opt/c": ""} {
		has := func(p string) bool { return slices.Contains(strings.Fields(have), p) }
		got := ""
		for _, a := range Choose(all, has) {
			got = a.Path
			links := [][2]string{{"/usr/bin/x", "/etc/alternatives/kiln-test"}, {"/etc/alternatives/kiln-test", a.Path}}
			if has("/opt/bb") {
				links = append(links, [2]string{"/usr/bin/xx", "/etc/alternatives/xx"}, [2]string{"/etc/alternatives/xx", "/opt/bb"})
			}
			if got := a.Links(has); !reflect.DeepEqual(got, links) {
				t.Errorf("with %s, links are %v, want %v", have, got, links)
			}
		}
		if got != want {
			t.Errorf("of %s, %q is chosen, want %q", have, got, want)
		}
	}
}

// TestUnpackTar unpacks what leads out of the folder, links, devices and docs.
func TestUnpackTar(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []tar.Header{
		{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755}, {Name: "./etc/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "./etc/up", Typeflag: tar.TypeSymlink, Linkname: "/"}, {Name: "./etc/up/file", Typeflag: tar.TypeReg, Size: 2, Mode: 0o4755, Uid: 5},
		{Name: "../../../out", Typeflag: tar.TypeReg, Size: 2, Mode: 0o600}, {Name: "./hard", Typeflag: tar.TypeLink, Linkname: "./etc/up/file"},
		{Name: "./dev", Typeflag: tar.TypeChar}, {Name: "./usr/share/man/x", Typeflag: tar.TypeReg, Size: 2},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			fmt.Fprint(w, "hi")
		}
	}
	w.Close()
	dir := t.TempDir()
	top, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer top.Close()
	files, err := unpackTar(&b, top)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files {
		line := fmt.Sprint(f.Path, " ", f.Mode, " ", f.UID, " ", f.Link)
		if f.Mode.IsRegular() {
			text, err := os.ReadFile(f.Host)
			line += fmt.Sprintf("%s %v %v", text, err, strings.HasPrefix(f.Host, dir))
		}
		got = append(got, line)
	}
	want := []string{"/ drwxr-xr-x 0 ", "/etc drwxr-xr-x 0 ", "/etc/up L--------- 0 /", "/etc/up/file urwxr-xr-x 5 hi <nil> true",
		"/out -rw------- 0 hi <nil> true", "/hard urwxr-xr-x 0 hi <nil> true"}
	if !slices.Equal(got, want) {
		t.Errorf("files are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// FuzzControl reads control files, and the relations in them.
func FuzzControl(f *testing.F) {
	f.Add([]byte(status))
	f.Add([]byte("Package: a1\nArchitecture: all\nDepends: a (>= 1) [amd64] <!x>, ${y}, |, b:any"))
	f.Fuzz(func(t *testing.T, text []byte) {
		paragraphs, err := readControl(bytes.NewReader(text))
		if err != nil {
			return
		}
		table := map[string]*Package{}
		for _, c := range paragraphs {
			if p, err := newPackage(c); err == nil && p != nil {
				table[p.Name] = p
			}
		}
		s := newSelection(table)
		for name := range table {
			if err := s.add(name); err == nil && s.chosen[name] == nil {
				t.Errorf("%s was added, and is not chosen", name)
			}
		}
	})
}

// FuzzScript reads installation scripts: what they make has absolute paths.
func FuzzScript(f *testing.F) {
	f.Add("X=/var/x; mkdir -p $X; chown -R a:b $X; chmod 755 ${X}; adduser --system a; adduser a b")
	f.Add("update-alternatives --install /a b /c 1 --slave /d e /f; ln -s a /b; ucf a /b; install -d -m 1777 /x")
	f.Fuzz(func(t *testing.T, text string) {
		s := readScript(text, func(string) {})
		s.ReadSysusers(text)
		for _, c := range s.Changes {
			if !filepath.IsAbs(c.Path) || filepath.Clean(c.Path) != c.Path {
				t.Errorf("a change of %q", c.Path)
			}
		}
		for _, a := range append(s.Alternatives, parseAlternative("x", text)...) {
			if !a.valid() {
				t.Errorf("an alternative %+v", a)
			}
		}
	})
}

// FuzzUnpack unpacks tars: nothing is written outside of the folder.
func FuzzUnpack(f *testing.F) {
	var seed bytes.Buffer
	w := tar.NewWriter(&seed)
	w.WriteHeader(&tar.Header{Name: "./a", Typeflag: tar.TypeReg, Size: 1})
	fmt.Fprint(w, "x")
	w.WriteHeader(&tar.Header{Name: "../b", Typeflag: tar.TypeLink, Linkname: "a"})
	w.Close()
	f.Add(seed.Bytes())
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		top, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer top.Close()
		files, err := unpackTar(bytes.NewReader(text), top)
		if err != nil {
			return
		}
		for _, file := range files {
			if file.Mode.IsRegular() && !strings.HasPrefix(file.Host, dir+"/") {
				t.Errorf("%q is at %q", file.Path, file.Host)
			}
		}
	})
}
