package account

import (
	"slices"
	"testing"
)

var files = Files{
	Passwd: "root:x:0:0:root:/root:/bin/sh\nbroken\nweb:x:33:34:Web:/srv/web:/bin/false\r\nodd:x:no:1::/:/bin/sh\n",
	Group:  "root:x:0:\nadm:x:4:web,other\nlog:x:5:web\nbad:x:y:web\nwebs:x:34:\n",
}

func TestFind(t *testing.T) {
	for _, tt := range []struct {
		text     string
		uid, gid uint32
		groups   []uint32
		home     string
	}{
		{"root", 0, 0, []uint32{0}, "/root"},
		{"web", 33, 34, []uint32{34, 4, 5}, "/srv/web"},
		{"33", 33, 34, []uint32{34, 4, 5}, "/srv/web"},
		{"web:adm", 33, 4, []uint32{4}, "/srv/web"},
		{"33:7", 33, 7, []uint32{7}, "/srv/web"},
		{"1000", 1000, 0, []uint32{0}, "/"},
		{"1000:webs", 1000, 34, []uint32{34}, "/"},
	} {
		u, home, err := files.Find(tt.text)
		if err != nil || u.UID != tt.uid || u.GID != tt.gid || !slices.Equal(u.Groups, tt.groups) || home != tt.home {
			t.Errorf("Find(%q) = %+v, %q, %v; want %+v", tt.text, u, home, err, tt)
		}
	}
	for _, text := range []string{"nobody", "web:nogroup", "odd", "", "-1", "4294967296", "1000:", ":web"} {
		if u, _, err := files.Find(text); err == nil {
			t.Errorf("Find(%q) = %+v, want an error", text, u)
		}
	}
	if u, _, err := (Files{}).Find("7:8"); err != nil || u.UID != 7 || u.GID != 8 {
		t.Errorf("without files: %+v, %v", u, err)
	}
}
