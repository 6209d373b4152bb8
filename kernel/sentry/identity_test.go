package sentry

import (
	"regexp"
	"testing"
)

func TestKnowsHost(t *testing.T) {
	const hosts = "127.0.0.1\tlocalhost\n10.0.0.1 db.example.org db # cache\n#1.2.3.4 commented\nlonely\n::1 last"
	for name, want := range map[string]bool{
		"localhost": true, "db": true, "db.example.org": true, "last": true,
		"cache": false, "commented": false, "lonely": false, "10.0.0.1": false, "example": false, "": false,
	} {
		if got := knowsHost(hosts, name); got != want {
			t.Errorf("knowsHost(%q) = %v, want %v", name, got, want)
		}
	}
}

func TestHostLine(t *testing.T) {
	for name, want := range map[string]string{
		"kiln":           "127.0.1.1\tkiln\n",
		"db.example.org": "127.0.1.1\tdb.example.org db\n",
		".odd":           "127.0.1.1\t.odd\n",
	} {
		if got := hostLine(name); got != want {
			t.Errorf("hostLine(%q) = %q, want %q", name, got, want)
		}
		if !knowsHost(hostLine(name), name) {
			t.Errorf("hostLine(%q) does not make the name known", name)
		}
	}
}

func TestMachineID(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}$`)
	seen := map[string]bool{}
	for range 100 {
		id, err := newMachineID()
		if err != nil || !form.MatchString(id) || seen[id] {
			t.Fatalf("newMachineID() = %q, %v, want another random UUID of version 4", id, err)
		}
		seen[id] = true
	}
}
