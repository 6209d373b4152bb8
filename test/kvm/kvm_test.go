// Package kvm_test boots images under KVM, on machines that have no hardware for
// it: QEMU's translation emulates AMD's SVM, so Debian's kernel loads kvm-amd in a
// guest, and QEMU runs with KVM inside. KVM's code is the real one; only the CPU
// is slow, so this says what works, and nothing of how fast.
//
// It takes minutes: check kvm, or check long, runs it.
package kvm_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kiln/test/kilncmd"
	"kiln/test/linuxguest"
)

// limit bounds all that one boot of the outer guest does.
const limit = 25 * time.Minute

// firmware are the files that QEMU reads for the machines below, of the packages
// qemu-system-data and seabios.
var firmware = []string{
	"/usr/share/qemu/qboot.rom", "/usr/share/qemu/kvmvapic.bin", "/usr/share/qemu/linuxboot_dma.bin", "/usr/share/qemu/pvh.bin",
	"/usr/share/seabios/bios-256k.bin", "/usr/share/seabios/bios-microvm.bin",
}

// microvm is the machine of kiln run (run/qemu).
const microvm = "microvm,x-option-roms=off,pit=off,pic=off,rtc=on,acpi=off,isa-serial=on"

// A guest is one run of QEMU with KVM.
type guest struct {
	name, machine, cpu, image string
	want                      string // what its last line is, and "status N"
}

// TestNested boots one outer guest, and in it the inner ones.
func TestNested(t *testing.T) {
	if os.Getenv("KILN_LONG") == "" && os.Getenv("KILN_KVM") == "" {
		t.Skip("takes minutes: check kvm, or check long")
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	kernel, err := linuxguest.Fetch(ctx, "../../build/bench/linux")
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(t.TempDir(), "root")
	addQEMU(t, ctx, root)
	for _, name := range []string{"hello", "clock", "float"} {
		addImage(t, ctx, root, name)
	}
	const host = "host"
	guests := []guest{
		{"microvm", microvm, host, "hello", "hello, KVM status 1"},
		{"pc", "pc", host, "hello", "hello, KVM status 1"},
		{"q35", "q35", host, "hello", "hello, KVM status 1"},
		{"registers", microvm, host, "float", "float: ok status 1"},
		{"clock", microvm, host, "clock", "clock: ok status 1"},
		{"clock without kvmclock", microvm, "host,-kvmclock", "clock", "clock: ok status 1"},
		{"clock without a signature", microvm, "host,kvm=off", "clock", "clock: ok status 1"},
		{"clock behind leaves of Hyper-V", microvm, "host,hv-relaxed,hv-vapic,hv-time", "clock", "clock: ok status 1"},
		{"no FSGSBASE", microvm, "host,-fsgsbase", "hello", "kiln: cannot boot: this CPU has no FSGSBASE status 255"},
	}
	out := runOuter(t, ctx, kernel, root, guests)
	for _, g := range guests {
		t.Run(g.name, func(t *testing.T) {
			_, rest, ok := strings.Cut(out, "begin "+g.name+"\n")
			said, _, ended := strings.Cut(rest, "\nend "+g.name+"\n")
			if !ok || !ended {
				t.Fatalf("it did not run; the outer guest said\n%s", out)
			}
			lines := parse(t, said)
			if n := len(lines); n < 2 || lines[n-2].text+" "+lines[n-1].text != g.want {
				t.Errorf("want %q in the end; it said\n%s", g.want, said)
			}
			if g.image == "clock" {
				checkClock(t, lines)
			}
		})
	}
}

// A line is what a guest said, when by the outer guest's clocks.
type line struct {
	up   float64 // s since boot
	date float64 // s since the epoch, whole ones
	text string
}

// parse reads the lines that are not empty.
func parse(t *testing.T, said string) []line {
	t.Helper()
	var all []line
	for s := range strings.Lines(said) {
		var l line
		if n, _ := fmt.Sscan(s, &l.up, &l.date); n != 2 {
			t.Errorf("%q is no line of a guest's", s)
			continue
		}
		f := strings.SplitN(strings.TrimSpace(s), " ", 3)
		if len(f) == 3 && strings.TrimSpace(f[2]) != "" {
			l.text = strings.TrimSpace(f[2])
			all = append(all, l)
		}
	}
	return all
}

// checkClock compares the dates that a guest told with the outer guest's clocks.
// Lines are late, as this machine is slow; a clock whose rate was guessed is wrong
// by a factor of ten.
func checkClock(t *testing.T, lines []line) {
	t.Helper()
	var told []float64
	var at []line
	for _, l := range lines {
		var date float64
		if n, _ := fmt.Sscanf(l.text, "clock %f", &date); n == 1 {
			told, at = append(told, date), append(at, l)
		}
	}
	if len(told) != 2 {
		t.Fatalf("%d dates, want 2", len(told))
	}
	if off := told[0] - at[0].date; off < -10 || off > 10 {
		t.Errorf("the date is off by %.1f s", off)
	}
	if rate := (told[1] - told[0]) / (at[1].up - at[0].up); rate < 0.5 || rate > 2 {
		t.Errorf("the clock's rate is %.2f", rate)
	}
}

// addQEMU copies QEMU, with its libraries and firmware, into a folder.
func addQEMU(t *testing.T, ctx context.Context, root string) {
	t.Helper()
	program, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Fatal(err)
	}
	libraries, err := exec.CommandContext(ctx, "ldd", program).Output()
	if err != nil {
		t.Fatal(err)
	}
	files := append([]string{program}, firmware...)
	for field := range strings.FieldsSeq(string(libraries)) {
		if field[0] == '/' {
			files = append(files, field)
		}
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(root, name), b, 0o755)
	}
	for _, dir := range []string{"dev", "proc", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func write(t *testing.T, name string, b []byte, mode fs.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, mode); err != nil {
		t.Fatal(err)
	}
}

// addImage compiles testdata/NAME.c and bakes it to /NAME.img.
func addImage(t *testing.T, ctx context.Context, root, name string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), name)
	for _, argv := range [][]string{
		{"gcc", "-O2", "-static", "-o", program, filepath.Join("testdata", name+".c"), "-lm"},
		{kilncmd.Path(t), "bake", "-o", filepath.Join(root, name+".img"), program},
	} {
		if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", argv, err, out)
		}
	}
}

// runOuter boots Linux with root as its disk, runs the guests, and returns what
// the console showed, with lines "begin NAME" and "end NAME" around each.
func runOuter(t *testing.T, ctx context.Context, kernel linuxguest.Kernel, root string, guests []guest) string {
	t.Helper()
	var script strings.Builder
	script.WriteString("set +m\n$bb mount -t ext4 -o ro /dev/vda /root\n$bb mount --bind /dev /root/dev\n$bb mount -t proc proc /root/proc\n$bb mount -t tmpfs tmp /root/tmp\n")
	for _, g := range guests {
		fmt.Fprintf(&script, "echo 'begin %s'\n", g.name)
		fmt.Fprintf(&script, "( $bb timeout 200 $bb chroot /root /usr/bin/qemu-system-x86_64 -L /usr/share/qemu -L /usr/share/seabios -M %s -accel kvm -cpu %s -m 64 "+
			"-nodefaults -no-user-config -display none -no-reboot -serial stdio -device isa-debug-exit,iobase=0x501,iosize=4 -kernel /%s.img; "+
			"status=$?; echo; echo \"status $status\" ) 2>&1 </dev/null | while read -r line; do read up rest </proc/uptime; echo \"$up $($bb date +%%s) $line\"; done\n",
			g.machine, g.cpu, g.image)
		fmt.Fprintf(&script, "echo 'end %s'\n", g.name)
	}
	script.WriteString("$bb poweroff -f\n")

	dir := t.TempDir()
	disk := filepath.Join(dir, "disk")
	var initramfs linuxguest.Initramfs
	initramfs.AddInit(kernel, script.String(), linuxguest.KVMModules...)
	m := linuxguest.Machine{
		Type: "q35", Accel: "tcg", Kernel: kernel.Vmlinux, Init: "/init", Memory: 768,
		Initramfs: filepath.Join(dir, "initramfs"), Disks: []string{disk},
	}
	if err := initramfs.Write(ctx, m.Initramfs); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(ctx, "mke2fs", "-q", "-t", "ext4", "-d", root, disk, "600M").CombinedOutput(); err != nil {
		t.Fatalf("mke2fs: %v\n%s", err, out)
	}
	out, err := exec.CommandContext(ctx, "qemu-system-x86_64", m.Flags()...).CombinedOutput()
	if err != nil {
		t.Fatalf("the outer guest: %v\n%s", err, out)
	}
	return strings.ReplaceAll(string(out), "\r", "")
}
