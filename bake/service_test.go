package bake

import (
	"io/fs"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestParseUnit(t *testing.T) {
	got := parseUnit("app", `[Unit]
Description=App
[Service]
# ExecStart=/no/comment
User=app
Group=adm
ExecStartPre=/bin/true
ExecStart=-/bin/sh -c "set -f; \
	exec /usr/sbin/appd --flag"
RuntimeDirectory=app app/sub:link
RuntimeDirectoryMode=2750
StateDirectory=app
ConfigurationDirectory=app
ConfigurationDirectoryMode=0700
LogsDirectory=../../etc/%i %n
`)
	want := unit{name: "app", user: "app", folders: []folder{
		{"app", "/run/app", fs.ModeSetgid | 0o750, "app", "adm"}, {"app", "/run/app/sub", fs.ModeSetgid | 0o750, "app", "adm"},
		{"app", "/var/lib/app", 0o755, "app", "adm"},
	}}
	start := got.start
	got.start = ""
	if !reflect.DeepEqual(got, want) {
		t.Errorf("parseUnit = %+v, want %+v", got, want)
	}
	if !strings.Contains(start, "exec /usr/sbin/appd --flag") || strings.Contains(start, "comment") || strings.Contains(start, "true") {
		t.Errorf("ExecStart is %q", start)
	}
}

func TestParseTmpfiles(t *testing.T) {
	got := parseTmpfiles("app", "# d /run/comment\n\nd /run/app 2775 app adm - -\nD! /var/run/old\nf /run/file 0644\n"+
		"L /run/link - - - - x\nd /etc/app\nd /run/%u\nd+ /var/log/app :1777 - -\nd\nd /run/../etc/x\n")
	want := []folder{
		{"app", "/run/app", fs.ModeSetgid | 0o775, "app", "adm"}, {"app", "/var/run/old", 0o755, "", ""},
		{"app", "/var/log/app", fs.ModeSticky | 0o777, "", ""},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("parseTmpfiles = %+v, want %+v", got, want)
	}
}

// TestServices finds what programs of the test's own want.
func TestServices(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"units/one.service":    "[Service]\nUser=u\nExecStart=@/usr/sbin/one one -x\nRuntimeDirectory=one\n",
		"units/two.service":    "[Service]\nExecStart=/bin/sh -c 'exec /usr/sbin/two'\n",
		"units/onemore.socket": "[Service]\nExecStart=/usr/sbin/one\nRuntimeDirectory=wrong\n",
		"tmpfiles/two.conf":    "d /run/two 0700 u g\n",
		"tmpfiles/three.conf":  "d /run/three\n",
	})
	a := parseAccounts("root:x:0:0::/root:/bin/sh\nu:x:101:102:U,,:/srv:/bin/false\nme:x:1000:1000::/home/me:/bin/sh\nbroken\n", "root:x:0:\ngu:x:102:me\ng:x:103:\n")
	s := readServices([]string{filepath.Join(dir, "units"), filepath.Join(dir, "none")}, []string{filepath.Join(dir, "tmpfiles")}, a)
	for _, tt := range []struct {
		host, content string
		want          []string
		user          string
	}{
		{"/usr/sbin/one", "", []string{"/run/one"}, "u"},
		{"/usr/sbin/two", "", []string{"/run/two"}, ""},
		{"/usr/sbin/three", "\x00/var/run/three/socket\x00", []string{"/run/three"}, ""},
		{"/usr/sbin/four", "/run/two.pid /run/three", []string{"/run/two", "/run/three"}, ""},
		{"/usr/sbin/on", "", nil, ""},
		{"/usr/sbin/one/more", "", nil, ""},
	} {
		folders, user := s.of(tt.host, []byte(tt.content))
		var got []string
		for _, d := range folders {
			got = append(got, d.path)
		}
		slices.Sort(got)
		slices.Sort(tt.want)
		if !slices.Equal(got, tt.want) || user != tt.user {
			t.Errorf("%s wants %q as %q, want %q as %q", tt.host, got, user, tt.want, tt.user)
		}
	}

	b, _ := testBaker(t)
	if err := b.addServiceFolder(a, folder{path: "/run/two", mode: 0o700, user: "u", group: "g"}); err != nil {
		t.Fatal(err)
	}
	b.addAccount(a, "u")
	b.addAccount(a, "nobody at all")
	if e := b.root.lookup("/run/two"); e == nil || e.mode != fs.ModeDir|0o700 || e.uid != 101 || e.gid != 103 {
		t.Errorf("/run/two is %+v", e)
	}
	passwd, group := string(b.root.lookup("/etc/passwd").data), string(b.root.lookup("/etc/group").data)
	if strings.Count(passwd, "u:x:101:102:U,,:/srv:/bin/false\n") != 1 || strings.Contains(passwd, "me:") {
		t.Errorf("/etc/passwd is %q", passwd)
	}
	if strings.Count(group, "\ngu:x:102:\n") != 1 || strings.Count(group, "\ng:x:103:\n") != 1 {
		t.Errorf("/etc/group is %q", group)
	}
	if e := b.root.lookup("/etc/passwd"); e.size != int64(len(e.data)) {
		t.Errorf("/etc/passwd has size %d and %d bytes", e.size, len(e.data))
	}
	if got := a.system(); !slices.Equal(got, []string{"u"}) {
		t.Errorf("users that are no persons: %q", got)
	}

	// A user's own file stays as it is.
	write(t, dir, map[string]string{"passwd": "mine:x:5:5::/:\n"})
	b, _ = testBaker(t)
	if err := b.addUser(filepath.Join(dir, "passwd") + ":/etc/passwd"); err != nil {
		t.Fatal(err)
	}
	b.addAccount(a, "u")
	if e := b.root.lookup("/etc/passwd"); e.host == "" || e.data != nil {
		t.Errorf("/etc/passwd is %+v, want the user's own", e)
	}
}

func FuzzParseUnit(f *testing.F) {
	f.Add("[Service]\nRuntimeDirectory=a:b ../c\nRuntimeDirectoryMode=755\n", "d /run/x 0755 u g\n")
	f.Fuzz(func(t *testing.T, unit, conf string) {
		for _, d := range append(parseUnit("x", unit).folders, parseTmpfiles("x", conf)...) {
			if !usable(d) || filepath.Clean(d.path) != d.path {
				t.Errorf("a folder %q", d.path)
			}
		}
	})
}
