package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
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

// choose returns the accelerator for what was asked. note is a line for the
// user if that is not what they may expect.
func choose(asked string, h host) (accel qemu.Accel, note string, err error) {
	switch asked {
	case AccelQEMU, "tcg":
		return qemu.TCG, "", nil
	case AccelAuto, AccelKVM, "":
	default:
		return "", "", inputError(fmt.Sprintf("no accelerator %q", asked), "there are kvm, qemu and auto")
	}
	lack := h.kvmLack()
	if lack == nil {
		return qemu.KVM, "", nil
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

// kvmLack returns why KVM cannot be used, nil if it can.
//
// A /dev/kvm proves nothing on a CPU that shows neither VMX nor SVM: such are
// emulated, and hang guests.
func (h host) kvmLack() error {
	if !hasVirtualization(h.cpuinfo) {
		return errors.New("the CPU shows neither vmx nor svm")
	}
	return h.openKVM()
}

// hasVirtualization reports whether the flags in /proc/cpuinfo have VMX or
// SVM.
func hasVirtualization(cpuinfo string) bool {
	for line := range strings.Lines(cpuinfo) {
		name, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(name) != "flags" {
			continue
		}
		for flag := range strings.FieldsSeq(value) {
			if flag == "vmx" || flag == "svm" {
				return true
			}
		}
	}
	return false
}
