// Package imports_test states which parts of Kiln may know of which, and
// checks it: the layout is the architecture.
//
//	cmd/kiln → packages → cc, bake, run, debug → image → standard library
//	cmd/kiln → instance → standard library
//	run/volume/files → kernel/fs: block, ext4, iso9660
//	kernel (main) → sentry → fs, virtio → machine, metal/abi
package imports_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// A pkg is what go list says of a package.
type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string // all that it imports, directly or not
	SFiles     []string // assembly
}

// A rule returns what is wrong with p, "" if nothing.
type rule struct {
	name  string
	check func(p pkg) string
}

// host are the folders of what does not run in a guest, tests aside.
var host = []string{"kiln/cmd", "kiln/cc", "kiln/bake", "kiln/run", "kiln/image", "kiln/packages", "kiln/instance", "kiln/debug"}

// onDisk are the file systems on disks, and what they need. They know nothing of
// a machine, so that host code can look into an image with them.
var onDisk = []string{"kiln/kernel/fs", "kiln/kernel/fs/block", "kiln/kernel/fs/ext4", "kiln/kernel/fs/ext4/jbd2", "kiln/kernel/fs/iso9660"}

var rules = []rule{
	{"host code never imports the kernel but for file systems on disks", func(p pkg) string {
		if !under(p.ImportPath, host...) {
			return ""
		}
		return first(p.Deps, func(dep string) bool { return under(dep, "kiln/kernel") && !slices.Contains(onDisk, dep) })
	}},
	{"only run/volume/files looks into images", func(p pkg) string {
		if !under(p.ImportPath, host...) || p.ImportPath == "kiln/run/volume/files" {
			return ""
		}
		return first(p.Imports, func(dep string) bool { return under(dep, "kiln/kernel") })
	}},
	{"the kernel imports no host code and starts no process", func(p pkg) string {
		if !under(p.ImportPath, "kiln/kernel") {
			return ""
		}
		return first(p.Deps, func(dep string) bool {
			return dep == "os/exec" || under(dep, "kiln/cmd", "kiln/cc", "kiln/bake", "kiln/run", "kiln/packages", "kiln/instance", "kiln/debug")
		})
	}},
	{"the image format needs only the standard library", func(p pkg) string {
		if !under(p.ImportPath, "kiln/image") || p.ImportPath == "kiln/image/imagetest" {
			return ""
		}
		return first(p.Imports, func(dep string) bool { return !standard(dep) && !under(dep, "kiln/image") })
	}},
	{"cc, bake, run and debug do not know the command", func(p pkg) string {
		if !under(p.ImportPath, "kiln/cc", "kiln/bake", "kiln/run", "kiln/packages", "kiln/debug") {
			return ""
		}
		return first(p.Deps, func(dep string) bool { return under(dep, "kiln/cmd") })
	}},
	{"the records of instances know nothing of what runs", func(p pkg) string {
		if !under(p.ImportPath, "kiln/instance") {
			return ""
		}
		return first(p.Imports, func(dep string) bool { return under(dep, "kiln") && !under(dep, "kiln/instance") })
	}},
	{"gVisor only under kernel/sentry", func(p pkg) string {
		if under(p.ImportPath, "kiln/kernel/sentry") {
			return ""
		}
		return first(p.Imports, func(dep string) bool { return under(dep, "gvisor.dev/gvisor") })
	}},
	{"drivers and file systems do not know the Sentry", func(p pkg) string {
		if !under(p.ImportPath, "kiln/kernel/virtio", "kiln/kernel/fs", "kiln/kernel/machine") {
			return ""
		}
		return first(p.Deps, func(dep string) bool { return under(dep, "kiln/kernel/sentry", "gvisor.dev/gvisor") })
	}},
	{"assembly only where the machine is touched", func(p pkg) string {
		if under(p.ImportPath, "kiln/kernel/boot", "kiln/kernel/metal", "kiln/kernel/machine") {
			return ""
		}
		// A file of this name is empty: it lets Go files declare functions that
		// are linked to others.
		return first(p.SFiles, func(f string) bool { return f != "linkname.s" })
	}},
	// Metal never initialises its Go runtime, so it may call only what
	// works without: no allocation, no initialisation order, no locks.
	{"metal is freestanding", func(p pkg) string {
		if !under(p.ImportPath, "kiln/kernel/metal") {
			return ""
		}
		free := []string{"unsafe", "sync/atomic", "math/bits", "kiln/image/bootinfo", "kiln/image/ending"}
		return first(p.Imports, func(dep string) bool {
			return !slices.Contains(free, dep) && !under(dep, "kiln/kernel/metal")
		})
	}},
}

// under reports whether path is one of the folders or lies below one.
func under(path string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(f string) bool {
		return path == f || strings.HasPrefix(path, f+"/")
	})
}

// standard reports whether path is in the standard library: the first element
// of any other module's path has a dot or is this module's name.
func standard(path string) bool {
	elem, _, _ := strings.Cut(path, "/")
	return elem != "kiln" && !strings.Contains(elem, ".")
}

func first(names []string, wrong func(string) bool) string {
	if i := slices.IndexFunc(names, wrong); i >= 0 {
		return names[i]
	}
	return ""
}

// list returns all packages of the module.
func list(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,Deps,SFiles", "kiln/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	var pkgs []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

func TestImports(t *testing.T) {
	pkgs := list(t)
	if !slices.ContainsFunc(pkgs, func(p pkg) bool { return p.ImportPath == "kiln/image/bootinfo" }) {
		t.Fatalf("go list found %d packages, not kiln/image/bootinfo among them", len(pkgs))
	}
	for _, r := range rules {
		t.Run(strings.ReplaceAll(r.name, " ", "-"), func(t *testing.T) {
			for _, p := range pkgs {
				if bad := r.check(p); bad != "" {
					t.Errorf("%s: %s has %s", r.name, p.ImportPath, bad)
				}
			}
		})
	}
}

// TestRules shows each rule a package that breaks it, so that a rule that
// lost its teeth is noticed.
func TestRules(t *testing.T) {
	breaks := []pkg{
		{ImportPath: "kiln/bake", Deps: []string{"os", "kiln/kernel/metal/abi"}},
		{ImportPath: "kiln/cmd/kiln", Imports: []string{"kiln/kernel/fs/ext4"}},
		{ImportPath: "kiln/kernel/virtio", Deps: []string{"os/exec"}},
		{ImportPath: "kiln/image", Imports: []string{"io", "github.com/a/b"}},
		{ImportPath: "kiln/run/qemu", Deps: []string{"kiln/cmd/kiln"}},
		{ImportPath: "kiln/instance", Imports: []string{"kiln/run"}},
		{ImportPath: "kiln/kernel", Imports: []string{"gvisor.dev/gvisor/pkg/abi"}},
		{ImportPath: "kiln/kernel/virtio/net", Deps: []string{"kiln/kernel/sentry"}},
		{ImportPath: "kiln/bake", SFiles: []string{"stub_amd64.s"}},
		{ImportPath: "kiln/kernel/metal", Imports: []string{"unsafe", "fmt"}},
	}
	if len(breaks) != len(rules) {
		t.Fatalf("%d broken packages for %d rules", len(breaks), len(rules))
	}
	for i, r := range rules {
		if got := r.check(breaks[i]); got == "" {
			t.Errorf("%s: nothing found in %+v", r.name, breaks[i])
		}
		if got := r.check(pkg{ImportPath: breaks[i].ImportPath, Imports: []string{"unsafe"}}); got != "" {
			t.Errorf("%s: found %s in a package that imports only unsafe", r.name, got)
		}
	}
}
