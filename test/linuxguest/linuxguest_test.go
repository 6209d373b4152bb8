package linuxguest

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// bzImage makes a kernel image around a payload, which begins after two sectors
// of setup code.
func bzImage(t *testing.T, payload []byte, length int) string {
	t.Helper()
	b := make([]byte, 3*512, 3*512+len(payload))
	b[0x1f1] = 1
	copy(b[0x202:], "HdrS")
	binary.LittleEndian.PutUint32(b[0x248:], 512)
	binary.LittleEndian.PutUint32(b[0x24c:], uint32(length))
	path := filepath.Join(t.TempDir(), "bzImage")
	if err := os.WriteFile(path, append(b, payload...), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func packed(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestExtractVmlinux(t *testing.T) {
	elf := "\x7fELF and more"
	// The size follows, as in a kernel.
	good := append(packed(t, elf), 13, 0, 0, 0)
	out := filepath.Join(t.TempDir(), "vmlinux")
	if err := extractVmlinux(t.Context(), bzImage(t, good, len(good)), out); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(out); err != nil || string(got) != elf {
		t.Errorf("extractVmlinux wrote %q, %v, want %q", got, err, elf)
	}

	none := filepath.Join(t.TempDir(), "vmlinux")
	short := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(short, []byte("MZ"), 0o644); err != nil {
		t.Fatal(err)
	}
	other := packed(t, "no program")
	for _, tt := range []struct{ image, want string }{
		{short, "no bzImage"},
		{bzImage(t, good, len(good)+1), "payload ends"},
		{bzImage(t, []byte("unpackable"), 10), "unknown compression"},
		{bzImage(t, other, len(other)), "did not unpack"},
	} {
		if err := extractVmlinux(t.Context(), tt.image, none); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("extractVmlinux = %v, want an error with %q", err, tt.want)
		}
	}
	if left, err := filepath.Glob(none + "*"); err != nil || len(left) > 0 {
		t.Errorf("failures left %v, %v", left, err)
	}
}

func TestInitramfs(t *testing.T) {
	var fs Initramfs
	modules := t.TempDir()
	for _, m := range slices.Concat(NetModules, DiskModules) {
		path := filepath.Join(modules, m)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	fs.AddInit(Kernel{Modules: modules}, "exec /bin/program\n")
	fs.AddProgram(t.Context(), "/bin/program", "/bin/true") // dynamic
	out := filepath.Join(t.TempDir(), "initramfs")
	if err := fs.Write(t.Context(), out); err != nil {
		t.Fatal(err)
	}
	list, err := exec.Command("sh", "-c", "gzip -dc "+out+" | busybox cpio -t").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"init", "bin/busybox", "bin/program", "lib64/ld-linux-x86-64.so.2", "modules/00-virtio_ring.ko", "modules/08-virtio_blk.ko", "proc", "dev"} {
		if !slices.ContainsFunc(strings.Fields(string(list)), func(s string) bool { return strings.TrimPrefix(s, "./") == want }) {
			t.Errorf("the archive lacks %s:\n%s", want, list)
		}
	}
	fs.add("/missing", filepath.Join(modules, "missing"))
	if err := fs.Write(t.Context(), filepath.Join(t.TempDir(), "initramfs")); err == nil {
		t.Error("a file that is not there is no error")
	}
}

func TestFlags(t *testing.T) {
	m := Machine{Type: "q35", Accel: "tcg", Kernel: "k", Initramfs: "i", Init: "/init", Memory: 64, Disks: []string{"a", "b"}}
	got := strings.Join(m.Flags(), " ")
	for _, want := range []string{"-M q35", "-m 64", "-kernel k -initrd i", "rdinit=/init", `"filename":"b"`, "drive=disk1"} {
		if !strings.Contains(got, want) {
			t.Errorf("Flags lacks %q: %s", want, got)
		}
	}
}

// TestFind does not take a folder for a kernel that was left half unpacked.
func TestFind(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"boot", "lib"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if k, err := findKernel(dir); err == nil {
		t.Errorf("findKernel of an empty folder = %v", k)
	}
	if err := os.WriteFile(filepath.Join(dir, "boot/vmlinuz-6.1.0"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if k, err := findKernel(dir); err == nil {
		t.Errorf("findKernel without vmlinux = %v", k)
	}
	if err := os.WriteFile(filepath.Join(dir, "vmlinux"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	k, err := findKernel(dir)
	if want := filepath.Join(dir, "lib/modules/6.1.0/kernel"); err != nil || k.Version != "6.1.0" || k.Modules != want {
		t.Errorf("findKernel = %v, %v, want version 6.1.0 with %s", k, err, want)
	}
}
