package bake

import (
	"io/fs"
	"testing"
)

// TestDateDirectories has directories with and without a time of their own.
func TestDateDirectories(t *testing.T) {
	dir := func(mtime int64) *entry { return &entry{mode: fs.ModeDir | 0o755, mtime: mtime} }
	file := func(mtime int64) *entry { return &entry{mode: 0o644, mtime: mtime} }
	r := &root{entries: map[string]*entry{
		"/": dir(0), "/a": dir(0), "/a/b": dir(0), "/a/b/old": file(5), "/a/b/new": file(9), "/a-": file(20),
		"/c": dir(3), "/c/x": file(100), "/empty": dir(0), "/a/late": file(7),
	}}
	r.dateDirectories()
	for p, want := range map[string]int64{"/": 100, "/a": 9, "/a/b": 9, "/c": 3, "/empty": 0, "/a/late": 7} {
		if got := r.entries[p].mtime; got != want {
			t.Errorf("%s has time %d, want %d", p, got, want)
		}
	}
}
