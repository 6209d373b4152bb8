package run

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"kiln/image"
	"kiln/run/qemu"
)

func TestParseShare(t *testing.T) {
	for in, want := range map[string]share{
		"data:/data":          {"data", "/data", false},
		"data:/data:ro":       {"data", "/data", true},
		"./d:/mnt/../x/:rw":   {"./d", "/x", false},
		"/a:b/c:/mnt:ro":      {"/a:b/c", "/mnt", true},
		".:/src":              {".", "/src", false},
		"/srv/x.ro:/srv/x.ro": {"/srv/x.ro", "/srv/x.ro", false},
	} {
		if got, err := parseShare(in); got != want || err != nil {
			t.Errorf("parseShare(%q) = %+v, %v; want %+v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "data", "data:", ":/data", "data:data", "data:/", "data:/..", "data:/x:wo", "/a:ro"} {
		if got, err := parseShare(in); !isInput(err) {
			t.Errorf("parseShare(%q) = %+v, %v; want an input error", in, got, err)
		}
	}
}

func TestPlanShares(t *testing.T) {
	o := testOptions()
	o.Disks = []string{"x.img,/x"}
	o.Volumes = []string{"./src:/src:ro", "data:/data", "/b:/b"}
	h := noKVM
	h.uid, h.gid = 1000, 100
	h.getenv = func(name string) string { return map[string]string{"HOME": "/h"}[name] }
	p, err := newPlan(o, h, terminal{})
	if err != nil {
		t.Fatal(err)
	}
	want := []image.Mount{
		{Device: "vda", Path: "/x", Source: "x.img"},
		{Tag: "share0", Path: "/src", Type: "9p", ReadOnly: true, Source: "./src", UID: 1000, GID: 100},
		{Device: "vdb", Path: "/data", Source: "data"},
		{Tag: "share1", Path: "/b", Type: "9p", Source: "/b", UID: 1000, GID: 100},
	}
	if got := p.config.Mounts; !slices.Equal(got, want) {
		t.Errorf("mounts = %+v, want %+v", got, want)
	}
	if got, want := p.machine.Disks[1], (qemu.Disk{File: "/h/.local/share/kiln/volumes/data.img", Format: qemu.Raw}); got != want {
		t.Errorf("volume = %+v, want %+v", got, want)
	}
	for _, bad := range [][]string{{"data:/x"}, {"data:/a", "./b:/a"}, {"a,b:/a"}} {
		o.Volumes = bad
		if _, err := newPlan(o, h, terminal{}); !isInput(err) {
			t.Errorf("-v %q: %v, want an input error", bad, err)
		}
	}
}

func TestCheckFolder(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	f := qemu.Folder{Path: "."}
	if err := checkFolder(&f); err != nil || f.Path != dir {
		t.Errorf("checkFolder(.) = %v, path %q, want %q", err, f.Path, dir)
	}
	for _, path := range []string{file, filepath.Join(dir, "missing")} {
		if err := checkFolder(&qemu.Folder{Path: path}); !isInput(err) {
			t.Errorf("checkFolder(%q) = %v, want an input error", path, err)
		}
	}
	if os.Getuid() == 0 {
		return // root may write everywhere
	}
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	if err := checkFolder(&qemu.Folder{Path: dir}); !isInput(err) {
		t.Errorf("checkFolder of one that may not be written: %v, want an input error", err)
	}
}
