package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"kiln/run/qemu"
)

// The accelerators to ask for.
const (
	AccelAuto = "auto" // KVM where it works, else TCG
	AccelKVM  = "kvm"
	AccelQEMU = "qemu" // TCG
)

// Accelerators returns what may be asked for.
func Accelerators() []string { return []string{AccelKVM, AccelQEMU, AccelAuto} }

// host is what a plan depends on of the machine that we run on.
type host struct {
	cpuinfo   string        // the text of /proc/cpuinfo
	openKVM   func() error  // opens and closes /dev/kvm
	addresses []hostAddress // of its network interfaces
	getenv    func(string) string
	uid, gid  int // of who runs this
	freePort  func(proto string) (uint16, error)
}

// thisHost is the machine that we run on.
func thisHost() host {
	// Without /proc/cpuinfo nothing says that the CPU can: TCG it is.
	text, _ := os.ReadFile("/proc/cpuinfo")
	return host{string(text), probeKVM, hostAddresses(), os.Getenv, os.Getuid(), os.Getgid(), freePort}
}

// kvmVersion is the only version of the interface there ever was
// (Documentation/virt/kvm/api.rst, KVM_GET_API_VERSION).
const (
	kvmGetVersion = 0xae00
	kvmVersion    = 12
)

// probeKVM reports why /dev/kvm cannot be used.
func probeKVM() error {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	version, err := unix.IoctlRetInt(int(f.Fd()), kvmGetVersion)
	if err != nil {
		return fmt.Errorf("/dev/kvm: %w", err)
	}
	if version != kvmVersion {
		return fmt.Errorf("/dev/kvm has version %d of its interface, not %d", version, kvmVersion)
	}
	return nil
}

// choose returns the accelerator for what was asked, with a CPU model, "" for the
// usual one. note is a line for the user if that is not what they may expect.
func choose(asked, model string, h host) (accel qemu.Accel, note string, err error) {
	switch asked {
	case AccelQEMU, "tcg":
		if hostCPU(model) {
			return "", "", inputError(fmt.Sprintf("--cpu %s is a CPU of KVM's", model), "--cpu max has all that QEMU can translate")
		}
		return qemu.TCG, "", nil
	case AccelAuto, AccelKVM, "":
	default:
		return "", "", inputError(fmt.Sprintf("no accelerator %q", asked), "there are kvm, qemu and auto")
	}
	lack := h.kvmLack()
	if lack == nil {
		return qemu.KVM, "", nil
	}
	if hostCPU(model) {
		return "", "", inputError(fmt.Sprintf("--cpu %s is a CPU of KVM's, which cannot be used (%v)", model, lack), "--cpu max has all that QEMU can translate")
	}
	note = fmt.Sprintf("KVM cannot be used (%v); using QEMU's TCG, which is slower", lack)
	switch {
	case errors.Is(lack, fs.ErrPermission):
		note += "; add yourself to group kvm"
	case asked != AccelKVM:
		note += " (kiln run qemu does not ask)"
	}
	return qemu.TCG, note, nil
}

// Accelerator returns what this machine runs a guest by, if asked is asked for.
func Accelerator(asked string) (qemu.Accel, error) {
	accel, _, err := choose(asked, "", thisHost())
	return accel, err
}

// kvmLack returns why KVM cannot be used, nil if it can.
//
// A /dev/kvm proves nothing on a CPU that shows neither VMX nor SVM: such are
// emulated, and hang guests. And a guest has nothing that the CPU has not.
func (h host) kvmLack() error {
	flags := cpuFlags(h.cpuinfo)
	if !slices.Contains(flags, "vmx") && !slices.Contains(flags, "svm") {
		return errors.New("the CPU shows neither vmx nor svm")
	}
	for _, flag := range neededFlags {
		if !slices.Contains(flags, flag) {
			return errors.New("the CPU has no " + flag + ", which the kernel needs")
		}
	}
	return h.openKVM()
}

// neededFlags are what the kernel needs of a CPU (docs/boot.md), by Linux's names.
// Intel's have them from Ivy Bridge on, AMD's from Zen on.
var neededFlags = [...]string{"lm", "nx", "syscall", "sse2", "fsgsbase"}

// cpuFlags returns the flags of the first CPU in /proc/cpuinfo.
func cpuFlags(cpuinfo string) []string {
	for line := range strings.Lines(cpuinfo) {
		if name, value, _ := strings.Cut(line, ":"); strings.TrimSpace(name) == "flags" {
			return strings.Fields(value)
		}
	}
	return nil
}

// hostCPU reports whether a CPU model is the host's own.
func hostCPU(model string) bool {
	name, _, _ := strings.Cut(model, ",")
	return name == "host"
}
