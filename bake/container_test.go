package bake

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"kiln/bake/oci/ocitest"
	"kiln/image"
)

// bakeContainer fills a root and a manifest with a container image.
func bakeContainer(t *testing.T, o Options) (*baker, *image.Manifest, error) {
	t.Helper()
	if o.Output == "" {
		o.Output = filepath.Join(t.TempDir(), "out.img")
	}
	if err := o.complete(); err != nil {
		return nil, nil, err
	}
	b := newBaker(o)
	t.Cleanup(b.close)
	m := o.manifest()
	return b, m, b.addContainer(m)
}

// program returns a static program of the host's.
func staticProgram(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"/bin/busybox", "/usr/bin/busybox"} {
		if _, err := os.Stat(name); err == nil {
			return name
		}
	}
	t.Skip("there is no busybox (package busybox-static)")
	return ""
}

func TestContainer(t *testing.T) {
	busybox := staticProgram(t)
	config := v1.Config{
		Entrypoint: []string{"sh", "-c"}, Cmd: []string{"echo hi"}, Env: []string{"PATH=/opt/bin:/bin", "A=1", "B=2"},
		WorkingDir: "srv/new", User: "web:adm", ExposedPorts: map[string]struct{}{"80/tcp": {}, "53/udp": {}},
		Volumes: map[string]struct{}{"/var/data": {}, "/data": {}, "/proc/x": {}}, Labels: map[string]string{"b": "2", "a": "1 =x"},
		Healthcheck: &v1.HealthConfig{Test: []string{"CMD-SHELL", "true"}, Interval: 1500 * time.Millisecond, Retries: 2},
	}
	img := ocitest.Image(t, "amd64", config,
		ocitest.Layer(t, "d bin", "x bin/busybox "+busybox, "l bin/sh busybox", "h bin/cat bin/busybox", "d dev", "f dev/console no", "f proc/x no",
			"f etc/passwd root:x:0:0:root:/root:/bin/sh\nweb:x:101:102:Web:/var/web:/bin/sh\n", "f etc/group adm:x:4:\nextra:x:9:me,web\n",
			"f data/file content @101:102", "p pipe @101:102"))
	b, m, err := bakeContainer(t, Options{OCI: ocitest.Docker(t, img), Env: []string{"A=3"}})
	if err != nil {
		t.Fatal(err)
	}
	want := &image.Manifest{
		Version: image.ManifestVersion, Config: image.DefaultConfig, Program: "/bin/sh", Args: []string{"sh", "-c", "echo hi"}, FixedArgs: 2,
		Env: []string{"PATH=/opt/bin:/bin", "B=2", "A=3", "HOME=/var/web"}, Cwd: "/srv/new",
		User: &image.User{UID: 101, GID: 4, Groups: []uint32{4}}, Exposed: []string{"53/udp", "80/tcp"},
		Labels: []string{"a=1 =x", "b=2"}, Health: &image.Health{Test: []string{"CMD-SHELL", "true"}, Interval: 1500, Retries: 2},
	}
	if !reflect.DeepEqual(m, want) {
		t.Errorf("manifest = %+v (user %+v), want %+v", m, m.User, want)
	}
	for p, is := range map[string]bool{"/dev": true, "/dev/console": false, "/proc/x": false, "/srv/new": true, "/tmp": true, "/bin/cat": true, "/usr": false, "/var/data": true, "/data": true, "/etc/services": true} {
		if got := b.root.lookup(p) != nil; got != is {
			t.Errorf("%s is there: %v, want %v", p, got, is)
		}
	}
	if e := b.root.lookup("/data/file"); e == nil || e.uid != 101 || e.gid != 102 {
		t.Errorf("/data/file = %+v, want one of user 101 and group 102", e)
	}
	if b.root.lookup("/bin/cat") != b.root.lookup("/bin/busybox") {
		t.Error("hard links are not one file")
	}
	if e := b.root.lookup("/tmp"); e.mode != fs.ModeDir|fs.ModeSticky|0o777 {
		t.Errorf("/tmp has mode %v", e.mode)
	}
	if pipes := b.root.pipes(); len(pipes) != 1 || pipes[0] != (image.Pipe{Path: "/pipe", Mode: 0o644, UID: 101, GID: 102}) {
		t.Errorf("named pipes %+v", pipes)
	}
	if _, err := b.root.plan(); err != nil {
		t.Errorf("plan: %v", err)
	}
}

func TestContainerUser(t *testing.T) {
	busybox := staticProgram(t)
	for user, want := range map[string]*image.User{
		"":        nil,
		"web":     {UID: 101, GID: 102, Groups: []uint32{102, 9}},
		"101":     {UID: 101, GID: 102, Groups: []uint32{102, 9}},
		"7":       {UID: 7, Groups: []uint32{0}},
		"7:9":     {UID: 7, GID: 9, Groups: []uint32{9}},
		"web:7":   {UID: 101, GID: 7, Groups: []uint32{7}},
		"root":    {UID: 0, Groups: []uint32{0}},
		"nobody":  {UID: 1 << 31}, // refused
		"web:no":  {UID: 1 << 31},
		"-1":      {UID: 1 << 31},
		":":       {UID: 1 << 31},
		"web:4:5": {UID: 1 << 31},
	} {
		img := ocitest.Image(t, "amd64", v1.Config{Cmd: []string{"/sh"}, User: user}, ocitest.Layer(t, "x sh "+busybox,
			"f etc/passwd root:x:0:0:root:/root:/bin/sh\nweb:x:101:102:Web:/:/bin/sh\n", "f etc/group root:x:0:\nextra:x:9:me,web\n"))
		_, m, err := bakeContainer(t, Options{OCI: ocitest.Layout(t, img)})
		if want != nil && want.UID == 1<<31 {
			if _, ok := errors.AsType[*InputError](err); !ok {
				t.Errorf("user %q: %v, want an input error", user, err)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(m.User, want) {
			t.Errorf("user %q = %+v, %v, want %+v", user, m.User, err, want)
		}
		if user == "7" && !reflect.DeepEqual(m.Env, []string{"HOME=/"}) {
			t.Errorf("user %q: environment %q, want a home", user, m.Env)
		}
	}
}

// TestContainerArgs: the user's arguments take the place of the command, not
// of the entry point.
func TestContainerArgs(t *testing.T) {
	busybox := staticProgram(t)
	layer := ocitest.Layer(t, "x bin/sh "+busybox, "f bin/text text")
	for name, tt := range map[string]struct {
		config v1.Config
		args   []string
		want   []string // nil: refused
		words  string
	}{
		"both":                   {v1.Config{Entrypoint: []string{"sh"}, Cmd: []string{"a"}}, []string{"x"}, []string{"sh", "x"}, ""},
		"command":                {v1.Config{Cmd: []string{"sh", "a"}}, []string{"/bin/sh", "b"}, []string{"/bin/sh", "b"}, ""},
		"relative":               {v1.Config{Cmd: []string{"./sh"}, WorkingDir: "/bin"}, nil, []string{"./sh"}, ""},
		"none":                   {v1.Config{}, nil, nil, "neither an entry point nor a command"},
		"missing":                {v1.Config{Cmd: []string{"bash"}}, nil, nil, "bash"},
		"missing too":            {v1.Config{Cmd: []string{"/bin/bash"}}, nil, nil, "/bin/bash"},
		"directory":              {v1.Config{Cmd: []string{"/bin"}}, nil, nil, "/bin"},
		"no program":             {v1.Config{Cmd: []string{"/bin/text"}}, nil, nil, "/bin/text"},
		"directory no directory": {v1.Config{Cmd: []string{"sh"}, WorkingDir: "/bin/text"}, nil, nil, "working directory"},
	} {
		img := ocitest.Image(t, "amd64", tt.config, layer)
		_, m, err := bakeContainer(t, Options{OCI: ocitest.Layout(t, img), Args: tt.args})
		if tt.want == nil {
			if _, ok := errors.AsType[*InputError](err); !ok || !strings.Contains(err.Error(), tt.words) {
				t.Errorf("%s: %v, want an input error with %q", name, err, tt.words)
			}
			continue
		}
		if err == nil && m.ReplaceProgram != (len(tt.config.Entrypoint) == 0) {
			t.Errorf("%s: a run's arguments replace the program: %v", name, m.ReplaceProgram)
		}
		if err != nil || !reflect.DeepEqual(m.Args, tt.want) || m.Program != "/bin/sh" {
			t.Errorf("%s: %s %q, %v, want /bin/sh %q", name, m.Program, m.Args, err, tt.want)
		}
	}
}

// TestContainerPrograms: what cannot run is said when it is baked.
func TestContainerPrograms(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skipf("there is no compiler: %v", err)
	}
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.WriteFile("x.c", []byte("int main(void) { return 0; }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("gcc", "-o", "dynamic", "x.c").CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	b, err := os.ReadFile("dynamic")
	if err != nil {
		t.Fatal(err)
	}
	b[18] = 183 // e_machine: EM_AARCH64
	if err := os.WriteFile("arm", b, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct{ file, words string }{
		"no loader": {"dynamic", "loader /lib64/ld-linux-x86-64.so.2"},
		"ARM":       {"arm", "aarch64"},
	} {
		img := ocitest.Image(t, "amd64", v1.Config{Cmd: []string{"/p"}}, ocitest.Layer(t, "x p "+filepath.Join(dir, tt.file)))
		_, _, err := bakeContainer(t, Options{OCI: ocitest.Layout(t, img)})
		if _, ok := errors.AsType[*InputError](err); !ok || !strings.Contains(err.Error(), tt.words) || strings.Contains(err.Error(), "kiln-layers") {
			t.Errorf("%s: %v, want an input error with %q", name, err, tt.words)
		}
	}
	// What is wrong with the archive is an input error, too.
	arm := ocitest.Docker(t, ocitest.Image(t, "arm64", v1.Config{Cmd: []string{"/p"}}, ocitest.Layer(t, "f p x")))
	if _, _, err := bakeContainer(t, Options{OCI: arm}); err == nil || !strings.Contains(err.Error(), "arm64") {
		t.Errorf("for another machine: %v", err)
	} else if _, ok := errors.AsType[*InputError](err); !ok {
		t.Errorf("for another machine: %v is no input error", err)
	}
}

// TestContainerTemporary: nothing stays behind.
func TestContainerTemporary(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	dir := ocitest.Layout(t, ocitest.Image(t, "amd64", v1.Config{Cmd: []string{"/p"}}, ocitest.Layer(t, "f p x")))
	out := filepath.Join(t.TempDir(), "out.img")
	if _, err := Bake(Options{OCI: ocitest.LayoutTar(t, dir), Output: out}); err == nil {
		t.Error("an image without a program was baked")
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("the output was half-written")
	}
}

func TestStopSignal(t *testing.T) {
	for in, want := range map[string]string{"": "", "SIGQUIT": "QUIT", "INT": "INT", "3": "QUIT"} {
		if got, err := stopSignal(in); err != nil || got != want {
			t.Errorf("stopSignal(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	for _, in := range []string{"SIGNOSUCH", "99", "-1", "0"} {
		if got, err := stopSignal(in); err == nil {
			t.Errorf("stopSignal(%q) = %q, want an error", in, got)
		}
	}
}

func TestContainerName(t *testing.T) {
	for in, want := range map[string]string{"a/redis.tar": "redis.img", "x.tar.gz": "x.img", "x.tgz": "x.img", "dir/": "dir.img", "layout": "layout.img"} {
		if got := containerName(in); got != want {
			t.Errorf("containerName(%q) = %q, want %q", in, got, want)
		}
	}
}
