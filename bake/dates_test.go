package bake

import (
	"io/fs"
	"testing"
	"time"
)

// TestSettleDates has directories, links and files of bake's with and without a
// time of their own, and files newer than the epoch.
func TestSettleDates(t *testing.T) {
	dir := func(mtime int64) *entry { return &entry{mode: fs.ModeDir | 0o755, mtime: mtime} }
	file := func(mtime int64) *entry { return &entry{mode: 0o644, host: "x", mtime: mtime} }
	tree := func() *root {
		return &root{entries: map[string]*entry{
			"/": dir(0), "/a": dir(0), "/a/b": dir(0), "/a/b/old": file(5), "/a/b/new": file(9), "/a-": file(20),
			"/c": dir(3), "/c/x": file(100), "/empty": dir(0), "/a/late": file(7), "/1970": file(0),
			"/link": {mode: fs.ModeSymlink | 0o777}, "/made": {mode: 0o644, data: []byte("x")},
			"/c/pinned": {mode: 0o644, host: "x", mtime: 60, pinned: true},
		}}
	}
	epoch := time.Unix(50, 0)
	for _, test := range []struct {
		epoch *time.Time
		want  map[string]int64
	}{
		{nil, map[string]int64{"/": 100, "/a": 9, "/a/b": 9, "/c": 3, "/empty": 100, "/a/late": 7, "/1970": 0, "/link": 100, "/made": 100, "/c/pinned": 60}},
		{&epoch, map[string]int64{"/": 60, "/a": 9, "/a-": 20, "/c": 3, "/c/x": 50, "/empty": 60, "/made": 60, "/c/pinned": 60}},
	} {
		r := tree()
		r.settleDates(test.epoch)
		for p, want := range test.want {
			if got := r.entries[p].mtime; got != want {
				t.Errorf("epoch %v: %s has time %d, want %d", test.epoch, p, got, want)
			}
		}
	}
}

// TestParseEpoch has what the specification allows, and what it does not.
func TestParseEpoch(t *testing.T) {
	if e, err := ParseEpoch(""); e != nil || err != nil {
		t.Errorf("without the variable: %v, %v", e, err)
	}
	if e, err := ParseEpoch("1700000000"); err != nil || e.Unix() != 1700000000 {
		t.Errorf("1700000000: %v, %v", e, err)
	}
	for _, bad := range []string{"-1", "1.5", "today", " 1", "99999999999999999999"} {
		if e, err := ParseEpoch(bad); err == nil {
			t.Errorf("%q is taken as %v", bad, e)
		}
	}
}
