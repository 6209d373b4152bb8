package missing

import (
	"slices"
	"testing"
)

func TestFind(t *testing.T) {
	for p, want := range map[string]string{
		"/usr/share/zoneinfo": "/usr/share/zoneinfo", "/usr/share/zoneinfo/Europe/Berlin": "/usr/share/zoneinfo",
		"/usr/share/zoneinfos": "", "/usr/lib/ssl/cert.pem": "/etc/ssl/certs", "/usr/bin/sh": "/bin/sh", "/bin/sh/x": "/bin/sh",
		"/usr/lib/locale/C.utf8": "", "/usr/lib/x86_64-linux-gnu/gconv/gconv-modules.cache": "", "": "", "zoneinfo": "", "/": "",
	} {
		got := ""
		if i := find(p); i >= 0 {
			got = kinds[i].path
		}
		if got != want {
			t.Errorf("find(%q) = %q, want %q", p, got, want)
		}
	}
}

// TestFirst notes each kind once, and has room for all.
func TestFirst(t *testing.T) {
	var f Files
	for i := range kinds {
		if !f.first(i) || f.first(i) {
			t.Errorf("kind %d is not noted once", i)
		}
	}
	f.looked = append(f.looked, look{"php", "/usr/share/zoneinfo/UTC", "/usr/share/zoneinfo"})
	want := []string{"php looked for /usr/share/zoneinfo/UTC, which the image lacks: if it failed for that, bake with --add /usr/share/zoneinfo"}
	if got := f.Lines(); !slices.Equal(got, want) {
		t.Errorf("Lines = %q, want %q", got, want)
	}
}
