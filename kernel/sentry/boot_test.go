package sentry

import (
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/erofs/go-erofs"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/cpuid"
	"gvisor.dev/gvisor/pkg/sentry/arch/fpu"
	"gvisor.dev/gvisor/pkg/sentry/vfs"

	"kiln/image"
	"kiln/kernel/machine"
	"kiln/kernel/sentry/bounds"
	"kiln/kernel/sentry/memory"
	"kiln/kernel/sentry/network"
	"kiln/kernel/sentry/platform"
	"kiln/kernel/virtio/net"
	"kiln/kernel/virtio/virtiotest"
)

// The Sentry keeps process-wide state, so the tests share one. Nothing runs
// in ring 3 here: that needs the machine.
var testSentry = sync.OnceValues(func() (*Sentry, error) {
	rootFS, err := writeImage(map[string]string{
		"/run/here":        "from the image",
		"/etc/resolv.conf": "nameserver 192.0.2.1",
	}, nil)
	if err != nil {
		return nil, err
	}
	if err := setUpMemory(64 << 20); err != nil {
		return nil, err
	}
	cpuid.Initialize()
	fpu.InitHostState()
	s := &Sentry{
		config:   Config{Hostname: "oven", RootFS: rootFS, Rows: 30, Cols: 100},
		platform: platform.New(platform.Hooks{}, platform.NewReserve(0, 0, 0)),
		clock:    machine.ClockInfo{Rate: 1 << 32},
		memory:   memory.New(machine.MemInfo{Total: 16384, LowWater: 737}),
		bounds:   bounds.New(16384),
	}
	if err := s.initKernel(64 << 20); err != nil {
		return nil, err
	}
	return s, s.mountFilesystems()
})

// writeImage writes a small root file system with files, each in a directory of
// its own, and links.
func writeImage(files, links map[string]string) (*os.File, error) {
	dir, err := os.MkdirTemp("", "kiln")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	f, err := os.Create(filepath.Join(dir, "root.erofs"))
	if err != nil {
		return nil, err
	}
	w := erofs.Create(f)
	for name, content := range files {
		if err := w.Mkdir(filepath.Dir(name), 0710); err != nil {
			return nil, err
		}
		e, err := w.Create(name)
		if err != nil {
			return nil, err
		}
		if _, err := io.WriteString(e, content); err != nil {
			return nil, err
		}
		if err := e.Close(); err != nil {
			return nil, err
		}
	}
	for name, to := range links {
		if err := w.Symlink(to, name); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return f, nil
}

// readGuestFile returns the content of a file of the Sentry.
func readGuestFile(t *testing.T, s *Sentry, path string) string {
	t.Helper()
	fd, err := s.mounts.vfs.OpenAt(s.mounts.ctx, s.mounts.creds, s.mounts.at(path), &vfs.OpenOptions{Flags: linux.O_RDONLY})
	if err != nil {
		t.Fatalf("open %s: %v", path, err)
	}
	defer fd.DecRef(s.mounts.ctx)
	b := make([]byte, 4096)
	n, err := readFile(s.mounts.ctx, fd, nil, b)
	if err != nil {
		t.Fatalf("read %s: %v", path, err)
	}
	return string(b[:n])
}

// ownHosts is /etc/hosts of an image that brings none.
const ownHosts = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\toven\n"

func TestRootFilesystem(t *testing.T) {
	s, err := testSentry()
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/run/here":        "from the image", // a directory with files is not mounted over
		"/etc/resolv.conf": "nameserver 192.0.2.1",
		"/etc/hostname":    "oven\n",
		"/etc/hosts":       ownHosts,
	} {
		if got := readGuestFile(t, s, path); got != want {
			t.Errorf("%s = %q, want %q", path, got, want)
		}
	}
	for _, path := range []string{"/dev/null", "/dev/pts/ptmx", "/dev/shm", "/dev/fd", "/proc/1", "/sys/devices", "/tmp"} {
		if got, want := s.mounts.exists(path), path != "/proc/1" && path != "/dev/fd"; got != want {
			t.Errorf("exists(%s) = %v, want %v", path, got, want)
		}
	}
}

// TestPipes makes the named pipes of an image, in directories that it has and
// in the memory that is mounted over it.
func TestPipes(t *testing.T) {
	s, err := testSentry()
	if err != nil {
		t.Fatal(err)
	}
	rootFS, err := writeImage(map[string]string{"/srv/file": "x", "/opt/taken": "mine"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s = &Sentry{kernel: s.kernel, creds: s.creds, networks: s.networks, config: Config{RootFS: rootFS, Pipes: []image.Pipe{
		{Path: "/srv/pipe", Mode: 0o640, UID: 7, GID: 8}, {Path: "/tmp/pipe", Mode: 0o600}, {Path: "/opt/taken", Mode: 0o600},
	}}}
	if err := s.mount(); err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]linux.Statx{
		"/srv/pipe": {Mode: linux.S_IFIFO | 0o640, UID: 7, GID: 8}, "/tmp/pipe": {Mode: linux.S_IFIFO | 0o600},
	} {
		stat, err := s.mounts.vfs.StatAt(s.mounts.ctx, s.mounts.creds, s.mounts.at(p), &vfs.StatOptions{Mask: linux.STATX_BASIC_STATS})
		if err != nil || stat.Mode != want.Mode || stat.UID != want.UID || stat.GID != want.GID {
			t.Errorf("%s: mode %#o, user %d, group %d, %v; want %#o, %d, %d", p, stat.Mode, stat.UID, stat.GID, err, want.Mode, want.UID, want.GID)
		}
	}
	if got := readGuestFile(t, s, "/opt/taken"); got != "mine" {
		t.Errorf("/srv/taken = %q, want what the image has", got)
	}
}

// TestEtc: the files that a boot writes to /etc leave the directory and what
// else is in it as they are in the image, whatever /etc is.
func TestEtc(t *testing.T) {
	s, err := testSentry()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name         string
		files, links map[string]string
		hosts        string
	}{
		{"directory", map[string]string{"/etc/hosts": "mine"}, nil, "mine\n127.0.1.1\toven\n"},
		{"link", map[string]string{"/real/hosts": "127.0.0.1 oven"}, map[string]string{"/etc": "/real"}, "127.0.0.1 oven"},
		{"linked file", map[string]string{"/etc/other": "mine"}, map[string]string{"/etc/hosts": "other"}, "mine\n127.0.1.1\toven\n"},
		{"broken link", map[string]string{"/etc/other": ""}, map[string]string{"/etc/hosts": "/run/nothing"}, ownHosts},
		{"nothing", map[string]string{"/bin/other": ""}, nil, ownHosts},
	} {
		rootFS, err := writeImage(tt.files, tt.links)
		if err != nil {
			t.Fatal(err)
		}
		s := &Sentry{
			config: Config{Hostname: "oven", RootFS: rootFS}, kernel: s.kernel, creds: s.creds, networks: s.networks,
		}
		if err := s.mount(); err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := readGuestFile(t, s, "/etc/hostname"); got != "oven\n" {
			t.Errorf("%s: /etc/hostname = %q", tt.name, got)
		}
		if got := readGuestFile(t, s, "/etc/hosts"); got != tt.hosts {
			t.Errorf("%s: /etc/hosts = %q, want %q", tt.name, got, tt.hosts)
		}
		if id := readGuestFile(t, s, "/etc/machine-id"); len(id) != 33 {
			t.Errorf("%s: /etc/machine-id = %q, want 32 digits and a line's end", tt.name, id)
		}
		m := s.mounts
		stat, err := m.vfs.StatAt(m.ctx, m.creds, m.at("/etc"), &vfs.StatOptions{Mask: linux.STATX_MODE})
		want := uint16(linux.S_IFDIR | 0710)
		if tt.name == "nothing" {
			want = linux.S_IFDIR | 0755
		}
		if err != nil || stat.Mode != want {
			t.Errorf("%s: mode of /etc = %#o, %v, want %#o", tt.name, stat.Mode, err, want)
		}
		s.mns.DecRef(m.ctx)
	}
}

func TestWriteFile(t *testing.T) {
	s, err := testSentry()
	if err != nil {
		t.Fatal(err)
	}
	m := s.mounts
	// A link to a directory that does not exist, as systemd leaves it.
	if err := m.mkdirAll("/etc"); err != nil {
		t.Fatal(err)
	}
	link := m.at("/etc/link")
	link.FollowFinalSymlink = false
	if err := m.vfs.SymlinkAt(m.ctx, m.creds, link, "/nowhere/file"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/etc/link", "/etc/link", "/new/deep/file", "/tmp/file"} {
		if err := m.writeFile(path, "content of "+path); err != nil {
			t.Errorf("writeFile: %v", err)
			continue
		}
		if got, want := readGuestFile(t, s, path), "content of "+path; got != want {
			t.Errorf("%s = %q, want %q", path, got, want)
		}
	}
}

// TestPty finds the fields of gVisor's structures that ptyOf depends on.
func TestPty(t *testing.T) {
	s, err := testSentry()
	if err != nil {
		t.Fatal(err)
	}
	m := s.mounts
	master, err := m.vfs.OpenAt(m.ctx, m.creds, m.at("/dev/pts/ptmx"), &vfs.OpenOptions{Flags: linux.O_RDWR})
	if err != nil {
		t.Fatal(err)
	}
	defer master.DecRef(m.ctx)
	p, err := ptyOf(master)
	if err != nil {
		t.Fatal(err)
	}
	if p.tty.Index() != 0 {
		t.Errorf("terminal number = %d, want 0", p.tty.Index())
	}
	if !p.setSize(30, 100) {
		t.Error("setSize(30, 100) = false, want true for a new size")
	}
	if p.setSize(30, 100) {
		t.Error("setSize(30, 100) = true, want false for the same size")
	}
	if *p.size != (linux.Winsize{Row: 30, Col: 100}) {
		t.Errorf("size = %+v, want 30 rows and 100 columns", *p.size)
	}
}

// TestPtyOfOther: what is no pseudoterminal is an error, not a crash.
func TestPtyOfOther(t *testing.T) {
	s, err := testSentry()
	if err != nil {
		t.Fatal(err)
	}
	m := s.mounts
	null, err := m.vfs.OpenAt(m.ctx, m.creds, m.at("/dev/null"), &vfs.OpenOptions{Flags: linux.O_RDWR})
	if err != nil {
		t.Fatal(err)
	}
	defer null.DecRef(m.ctx)
	if _, err := ptyOf(null); err == nil {
		t.Error("ptyOf(/dev/null) succeeded, want an error")
	}
}

// TestResolvConf: the network's name servers replace the image's file, and
// without any the image's stays.
func TestResolvConf(t *testing.T) {
	s, err := testSentry()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.writeResolv(s.mounts); err != nil {
		t.Fatal(err)
	}
	if got, want := readGuestFile(t, s, "/etc/resolv.conf"), "nameserver 192.0.2.1"; got != want {
		t.Errorf("without a name server /etc/resolv.conf = %q, want the image's %q", got, want)
	}
}

// TestResolvOnce: a boot writes resolv.conf once, not again over what the
// program made of it.
func TestResolvOnce(t *testing.T) {
	shared, err := testSentry()
	if err != nil {
		t.Fatal(err)
	}
	root, err := network.New(network.Options{ID: 99})
	if err != nil {
		t.Fatal(err)
	}
	port := virtiotest.NewPort(net.Wanted, [6]byte{2, 0, 0, 0, 0, 1}, 1500)
	defer port.IRQ.Close()
	dev, err := net.Open(port, port.Mem, net.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := root.Attach(dev, network.Interface{Name: "eth0", DNS: []netip.Addr{netip.MustParseAddr("192.0.2.53")}}); err != nil {
		t.Fatal(err)
	}
	rootFS, err := writeImage(map[string]string{"/etc/resolv.conf": "from the image"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &Sentry{
		config: Config{RootFS: rootFS}, kernel: shared.kernel, creds: shared.creds, networks: &networks{root: root},
	}
	if err := s.mount(); err != nil {
		t.Fatal(err)
	}
	defer s.mns.DecRef(s.mounts.ctx)
	const path = "/etc/resolv.conf"
	if got, want := readGuestFile(t, s, path), "nameserver 192.0.2.53\n"; got != want {
		t.Errorf("%s = %q, want %q", path, got, want)
	}
	if err := s.mounts.writeFile(path, "from the program"); err != nil {
		t.Fatal(err)
	}
	if err := s.writeResolv(s.mounts); err != nil {
		t.Fatal(err)
	}
	if got, want := readGuestFile(t, s, path), "from the program"; got != want {
		t.Errorf("%s = %q, want %q: no name server has changed", path, got, want)
	}
}
