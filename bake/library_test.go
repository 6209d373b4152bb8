package bake

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// library is a shared library for x86-64, and foreign one that no x86-64
// program can load.
var (
	library = elfFile{typ: 3, soname: "libx.so"}
	foreign = elfFile{typ: 3, soname: "libx.so", machine: 183} // AArch64
)

// noImage is a loader's view of an image without files.
func noImage(string) string { return "" }

// TestFindOrder looks for a library that is in several directories.
func TestFindOrder(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"rpath", "runpath", "env", "default", "conf", "parent", "grand"} {
		library.write(t, filepath.Join(dir, name, "libx.so"))
	}
	foreign.write(t, filepath.Join(dir, "foreign", "libx.so"))
	writeBytes(t, filepath.Join(dir, "text", "libx.so"), []byte("INPUT(libx.so.1)\n"))
	if err := os.MkdirAll(filepath.Join(dir, "folder", "libx.so"), 0o755); err != nil {
		t.Fatal(err)
	}
	in := func(names ...string) (dirs []string) {
		for _, n := range names {
			dirs = append(dirs, filepath.Join(dir, n))
		}
		return dirs
	}
	type chain = []*linkage
	for name, tt := range map[string]struct {
		musl  bool
		chain chain // the last looks for the library
		env   []string
		dirs  []string
		conf  []string
		want  string // "" for not found
	}{
		"default":                    {chain: chain{{}}, dirs: in("none", "default"), want: "default"},
		"nowhere":                    {chain: chain{{}}, dirs: in("none"), want: ""},
		"conf last":                  {chain: chain{{}}, dirs: in("none"), conf: in("conf"), want: "conf"},
		"default before conf":        {chain: chain{{}}, dirs: in("default"), conf: in("conf"), want: "default"},
		"env before default":         {chain: chain{{}}, env: in("env"), dirs: in("default"), want: "env"},
		"rpath before env":           {chain: chain{{rpath: in("rpath")}}, env: in("env"), want: "rpath"},
		"env before runpath":         {chain: chain{{runpath: in("runpath")}}, env: in("env"), want: "env"},
		"runpath before default":     {chain: chain{{runpath: in("runpath")}}, dirs: in("default"), want: "runpath"},
		"runpath hides rpath":        {chain: chain{{rpath: in("rpath"), runpath: in("none")}}, dirs: in("default"), want: "default"},
		"rpath of who loaded it":     {chain: chain{{rpath: in("parent")}, {}}, env: in("env"), want: "parent"},
		"own rpath first":            {chain: chain{{rpath: in("parent")}, {rpath: in("rpath")}}, want: "rpath"},
		"nearest rpath first":        {chain: chain{{rpath: in("grand")}, {rpath: in("parent")}, {}}, want: "parent"},
		"runpath is not for others":  {chain: chain{{runpath: in("parent")}, {}}, dirs: in("default"), want: "default"},
		"own runpath ends rpaths":    {chain: chain{{rpath: in("parent")}, {runpath: in("none")}}, dirs: in("default"), want: "default"},
		"their runpath hides theirs": {chain: chain{{rpath: in("parent"), runpath: in("none")}, {}}, dirs: in("default"), want: "default"},
		"passes over foreign":        {chain: chain{{rpath: in("foreign", "text", "folder", "rpath")}}, want: "rpath"},
		"only foreign":               {chain: chain{{}}, dirs: in("foreign", "text", "folder"), want: ""},
		"relative is no place":       {chain: chain{{rpath: []string{"rpath", "."}}}, dirs: in("default"), want: "default"},

		"musl: env first":         {musl: true, chain: chain{{rpath: in("rpath")}}, env: in("env"), want: "env"},
		"musl: rpath":             {musl: true, chain: chain{{rpath: in("rpath")}}, dirs: in("default"), want: "rpath"},
		"musl: runpath of others": {musl: true, chain: chain{{runpath: in("parent")}, {}}, dirs: in("default"), want: "parent"},
		"musl: runpath hides":     {musl: true, chain: chain{{rpath: in("rpath"), runpath: in("runpath")}}, want: "runpath"},
		"musl: default":           {musl: true, chain: chain{{}}, dirs: in("default"), want: "default"},
	} {
		l := &loader{musl: tt.musl, dirs: tt.dirs, conf: tt.conf, inImage: noImage}
		got, ok := l.find("libx.so", tt.chain, tt.env)
		want := filepath.Join(dir, tt.want, "libx.so")
		if ok != (tt.want != "") || ok && (got.host != want || got.guest != want) {
			t.Errorf("%s: %+v, %v, want %q", name, got, ok, tt.want)
		}
		if ok && got.cached != (tt.want == "conf") {
			t.Errorf("%s: found through the cache is %v", name, got.cached)
		}
	}
}

// TestFindPath looks for libraries that are needed by a path.
func TestFindPath(t *testing.T) {
	p := library.write(t, filepath.Join(t.TempDir(), "libx.so"))
	l := &loader{inImage: noImage}
	self := []*linkage{{}}
	if got, ok := l.find(p, self, nil); !ok || got.host != p || got.guest != p {
		t.Errorf("find(%s) = %+v, %v", p, got, ok)
	}
	for _, name := range []string{"./libx.so", "sub/libx.so", p + ".none"} {
		if got, ok := l.find(name, self, nil); ok {
			t.Errorf("find(%s) = %+v, want nothing: the guest's folder is another", name, got)
		}
	}
	l.inImage = func(guest string) string {
		if guest == "/opt/libx.so" {
			return p
		}
		return ""
	}
	if got, ok := l.find("/opt/libx.so", self, nil); !ok || got.host != p || got.guest != "/opt/libx.so" {
		t.Errorf("a library of the image: %+v, %v, want %s at /opt/libx.so", got, ok, p)
	}
}

// TestFindOrigin has a program that lies elsewhere in the image: its run path
// is where it is on the host, and where it is in the guest.
func TestFindOrigin(t *testing.T) {
	dir := t.TempDir()
	library.write(t, filepath.Join(dir, "lib", "libx.so"))
	l := &loader{inImage: noImage}
	for _, origin := range []string{"$ORIGIN/../lib", "${ORIGIN}/../lib"} {
		chain := []*linkage{{host: filepath.Join(dir, "bin", "app"), guest: "/opt/app/bin/app", runpath: []string{origin}}}
		got, ok := l.find("libx.so", chain, nil)
		if want := (found{host: filepath.Join(dir, "lib", "libx.so"), guest: "/opt/app/lib/libx.so"}); !ok || got != want {
			t.Errorf("%s: %+v, %v, want %+v", origin, got, ok, want)
		}
	}
}

func TestExpand(t *testing.T) {
	for _, tt := range []struct{ dir, file, want string }{
		{"/lib", "/bin/a", "/lib"},
		{"/lib/", "/bin/a", "/lib"},
		{"$ORIGIN", "/opt/bin/a", "/opt/bin"},
		{"${ORIGIN}/../lib", "/opt/bin/a", "/opt/lib"},
		{"$ORIGIN/../../../..", "/opt/bin/a", "/"},
		{"/usr/$LIB", "/bin/a", "/usr/lib/x86_64-linux-gnu"},
		{"/opt/${PLATFORM}/x", "/bin/a", "/opt/x86_64/x"},
		{"", "/bin/a", "."},
	} {
		if got := expand(tt.dir, tt.file); got != tt.want {
			t.Errorf("expand(%q, %q) = %q, want %q", tt.dir, tt.file, got, tt.want)
		}
	}
}

func TestProvides(t *testing.T) {
	musl, glibc := &loader{musl: true}, &loader{}
	for name, want := range map[string]bool{
		"libc.so": true, "libc.musl-x86_64.so.1": true, "libpthread.so.0": true, "libm.so.6": true, "libdl.so.2": true,
		"libcrypto.so.3": false, "libmagic.so.1": false, "libx.so": false, "c.so": false, "": false,
	} {
		if got := musl.provides(name); got != want {
			t.Errorf("musl provides %q: %v, want %v", name, got, want)
		}
		if glibc.provides(name) {
			t.Errorf("glibc's loader provides %q, want it to be a file", name)
		}
	}
}

// TestAgainstLoaders compares what find finds with what the loaders of this
// machine load: the library returns the number of its directory, and the
// program ends with it.
func TestAgainstLoaders(t *testing.T) {
	dir := t.TempDir()
	for _, cc := range []string{"gcc", "musl-gcc"} {
		if _, err := exec.LookPath(cc); err != nil {
			t.Logf("without %s: %v", cc, err)
			continue
		}
		build := func(source string, args ...string) {
			cmd := exec.Command(cc, append([]string{"-x", "c", "-"}, args...)...)
			cmd.Stdin = strings.NewReader(source)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s %q: %v\n%s", cc, args, err, out)
			}
		}
		top := filepath.Join(dir, cc)
		at := func(n string) string { return filepath.Join(top, n) }
		for n, code := range map[string]string{"1": "1", "2": "2", "3": "3"} {
			if err := os.MkdirAll(at(n), 0o755); err != nil {
				t.Fatal(err)
			}
			build("int f(void) { return "+code+"; }", "-shared", "-fPIC", "-Wl,-soname,libx.so", "-o", at(n+"/libx.so"))
		}
		const old, new = "-Wl,--disable-new-dtags", "-Wl,--enable-new-dtags"
		for name, tt := range map[string]struct{ flags, midFlags, env string }{
			"rpath":             {old + " -Wl,-rpath," + at("1"), "", ""},
			"runpath":           {new + " -Wl,-rpath," + at("1"), "", ""},
			"rpath and env":     {old + " -Wl,-rpath," + at("1"), "", at("2")},
			"runpath and env":   {new + " -Wl,-rpath," + at("1"), "", at("2")},
			"two of them":       {new + " -Wl,-rpath," + at("none") + ":" + at("3"), "", ""},
			"origin":            {new + " -Wl,-rpath,$ORIGIN/1", "", ""},
			"of both":           {old + " -Wl,-rpath," + at("1") + ":" + at("mid"), old + " -Wl,-rpath," + at("3"), ""},
			"inherited":         {old + " -Wl,-rpath," + at("1") + ":" + at("mid"), " ", ""},
			"runpath below old": {old + " -Wl,-rpath," + at("1") + ":" + at("mid"), new + " -Wl,-rpath," + at("2"), ""},
		} {
			needs := "-lx"
			if tt.midFlags != "" { // the library is needed by another
				if err := os.MkdirAll(at("mid"), 0o755); err != nil {
					t.Fatal(err)
				}
				build("int f(void); int g(void) { return f(); }", append(strings.Fields(tt.midFlags), "-shared", "-fPIC", "-o", at("mid/libmid.so"), "-L"+at("2"), "-lx")...)
				needs = "-lmid"
			}
			source := "int f(void); int main(void) { return f(); }"
			if needs == "-lmid" {
				source = "int g(void); int main(void) { return g(); }"
			}
			app := at("app")
			build(source, append(strings.Fields(tt.flags), "-o", app, "-L"+at("mid"), "-L"+at("2"), needs, "-Wl,--allow-shlib-undefined")...)
			compareWithLoader(t, cc+", "+name, app, tt.env)
		}
	}
}

// compareWithLoader runs app, and looks for its library as bake does.
func compareWithLoader(t *testing.T, name, app, env string) {
	t.Helper()
	cmd := exec.Command(app)
	cmd.Env = []string{"LD_LIBRARY_PATH=" + env}
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatalf("%s: %v", name, err)
	}
	want := cmd.ProcessState.ExitCode() // 127: not found
	l, err := readLinkage(object{host: app, guest: app})
	if err != nil {
		t.Fatal(err)
	}
	b := &baker{ctx: t.Context(), root: newRoot()}
	ld := b.loaderFor(l.interp)
	var dirs []string
	if env != "" {
		dirs = []string{env}
	}
	chain := []*linkage{l}
	for _, n := range l.needed {
		if n == "libmid.so" {
			f, ok := ld.find(n, chain, dirs)
			if !ok {
				t.Fatalf("%s: %s was not found", name, n)
			}
			mid, err := readLinkage(object{host: f.host, guest: f.guest})
			if err != nil {
				t.Fatal(err)
			}
			chain = append(chain, mid)
		}
	}
	got := 127
	if f, ok := ld.find("libx.so", chain, dirs); ok {
		got = int(filepath.Base(filepath.Dir(f.host))[0] - '0')
	}
	if got != want {
		t.Errorf("%s: bake finds the library of directory %d, the loader %d (127: none)", name, got, want)
	}
}

// TestAddLibraries fills an image with a program whose library is in a
// directory that only the user names, and looks at the link that stands for
// the cache.
func TestAddLibraries(t *testing.T) {
	dir := t.TempDir()
	lib := filepath.Join(dir, "sysroot/libkilnx.so.1.2")
	library.write(t, lib)
	if err := os.Symlink("libkilnx.so.1.2", filepath.Join(dir, "sysroot/libkilnx.so.1")); err != nil {
		t.Fatal(err)
	}
	app := elfFile{interp: defaultLoader, needed: []string{"libkilnx.so.1", "libc.so.6"}}.write(t, filepath.Join(dir, "app"))
	if !isLibrary(defaultLoader) {
		t.Skipf("this machine has no %s", defaultLoader)
	}
	b, _, err := fill(Options{Program: app, LibraryDirs: []string{filepath.Join(dir, "sysroot")}})
	if err != nil {
		t.Fatal(err)
	}
	libc := filepath.Dir(firstOf(t, b, "libc.so.6"))
	e := b.root.entries[filepath.Join(libc, "libkilnx.so.1")]
	if e == nil || e.mode&fs.ModeSymlink == 0 || e.link != filepath.Join(dir, "sysroot/libkilnx.so.1") {
		t.Errorf("beside libc.so.6 there is %+v, want a link to %s", e, dir)
	}
	if got := b.root.hostFile(filepath.Join(libc, "libkilnx.so.1")); got != lib {
		t.Errorf("the link leads to the host's %q, want %q", got, lib)
	}
	if _, _, err := fill(Options{Program: app}); !isInputError(err) || !strings.Contains(err.Error(), "libkilnx.so.1") {
		t.Errorf("without the directory: %v, want an input error with the library's name", err)
	}
	env := []string{"LD_LIBRARY_PATH=/none:" + filepath.Join(dir, "sysroot")}
	if _, _, err := fill(Options{Program: app, Env: env}); err != nil {
		t.Errorf("with LD_LIBRARY_PATH in the image: %v", err)
	}
	bad := elfFile{interp: "/lib/ld-none.so.9"}.write(t, filepath.Join(dir, "bad"))
	if _, _, err := fill(Options{Program: bad}); !isInputError(err) || !strings.Contains(err.Error(), "/lib/ld-none.so.9") {
		t.Errorf("without the loader: %v, want an input error with its name", err)
	}
}

// firstOf returns the path in the image of a file with this name.
func firstOf(t *testing.T, b *baker, name string) string {
	t.Helper()
	for _, p := range b.root.paths() {
		if filepath.Base(p) == name {
			return p
		}
	}
	t.Fatalf("there is no %s in the image", name)
	return ""
}

// TestTreeLacksLibrary adds a folder with programs of which one lacks a
// library: what is in a folder need not be complete, but the user is told.
func TestTreeLacksLibrary(t *testing.T) {
	dir := t.TempDir()
	app := elfFile{}.write(t, filepath.Join(dir, "app"))
	elfFile{interp: defaultLoader, needed: []string{"libkilnnone.so"}}.write(t, filepath.Join(dir, "tree/tool"))
	var said []string
	o := Options{Program: app, Files: []string{filepath.Join(dir, "tree")}, Progress: func(s string) { said = append(said, s) }}
	if _, _, err := fill(o); err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(said, "\n"); !strings.Contains(all, "warning") || !strings.Contains(all, "libkilnnone.so") {
		t.Errorf("bake said %q, want a warning about libkilnnone.so", said)
	}
}

func TestLDConf(t *testing.T) {
	dir := t.TempDir()
	at := func(n string) string { return filepath.Join(dir, n) }
	for name, text := range map[string]string{
		"ld.so.conf":    "# the directories\n/first  # here\n\n  /second/  \ninclude conf.d/*.conf\nrelative\ninclude " + at("abs.conf") + "\t none.conf\nhwcap 0 nosegneg\ninclude [\n",
		"conf.d/b.conf": "/b\n", "conf.d/a.conf": "/a\n", "conf.d/skipped": "/skipped\n",
		"abs.conf":  "/abs\n",
		"loop.conf": "/loop\ninclude loop.conf\n",
	} {
		writeBytes(t, at(name), []byte(text))
	}
	for name, want := range map[string][]string{
		"ld.so.conf": {"/first", "/second", "/a", "/b", "/abs"},
		"none":       nil,
		"conf.d":     nil, // a directory
	} {
		if got := ldConf(at(name)); !reflect.DeepEqual(got, want) {
			t.Errorf("ldConf(%s) = %q, want %q", name, got, want)
		}
	}
	if got := ldConf(at("loop.conf")); len(got) != maxIncludes {
		t.Errorf("a file that includes itself gives %d directories, want %d", len(got), maxIncludes)
	}
}

func TestMuslDirs(t *testing.T) {
	for text, want := range map[string][]string{
		"/lib:/usr/lib\n":     {"/lib", "/usr/lib"},
		"/a\n/b\n":            {"/a", "/b"},
		"":                    nil,
		"\n:\n":               nil,
		"/opt/with blank:/x:": {"/opt/with blank", "/x"},
	} {
		if got := splitMuslPath(text); len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Errorf("splitMuslPath(%q) = %q, want %q", text, got, want)
		}
	}
	if dirs, file := muslPath("/lib/ld-musl-kilnnone.so.1"); !reflect.DeepEqual(dirs, muslDirs) || file != "" {
		t.Errorf("without a file: %q, %q, want %q", dirs, file, muslDirs)
	}
}

func FuzzLDConf(f *testing.F) {
	f.Add("/usr/lib\ninclude *.conf\n")
	f.Add("include ld.so.conf # myself\n/a b\n")
	f.Fuzz(func(t *testing.T, text string) {
		p := filepath.Join(t.TempDir(), "ld.so.conf")
		// Only what the test made is included.
		if strings.Contains(text, "include") && strings.ContainsAny(text, "/.*?[") {
			t.Skip("it would read this machine's files")
		}
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, d := range ldConf(p) {
			if !filepath.IsAbs(d) || filepath.Clean(d) != d {
				t.Errorf("ldConf(%q) has the directory %q, want clean absolute ones", text, d)
			}
		}
	})
}
