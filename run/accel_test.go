package run

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"kiln/run/qemu"
)

const (
	intelFlags = "processor\t: 0\nflags\t\t: fpu vme vmx ssse3\nvmx flags\t: vnmi\n"
	amdFlags   = "processor\t: 0\nflags\t\t: fpu svm\n"
	noFlags    = "processor\t: 0\nmodel name\t: svm vmx\nflags\t\t: fpu vme hypervisor novmx\nvmx flags\t: \n"
)

func TestChoose(t *testing.T) {
	denied := fmt.Errorf("open /dev/kvm: %w", fs.ErrPermission)
	absent := fmt.Errorf("open /dev/kvm: %w", fs.ErrNotExist)
	tests := []struct {
		asked, cpuinfo string
		kvm            error
		want           qemu.Accel
		note           string // part of it; "" for none
	}{
		{"auto", intelFlags, nil, qemu.KVM, ""},
		{"", amdFlags, nil, qemu.KVM, ""},
		{"kvm", amdFlags, nil, qemu.KVM, ""},
		{"qemu", intelFlags, nil, qemu.TCG, ""},
		{"tcg", intelFlags, nil, qemu.TCG, ""},
		// A /dev/kvm on a CPU without VMX and SVM hangs guests.
		{"auto", noFlags, nil, qemu.TCG, "neither vmx nor svm"},
		{"kvm", noFlags, nil, qemu.TCG, "neither vmx nor svm"},
		{"auto", intelFlags, absent, qemu.TCG, "file does not exist"},
		{"kvm", intelFlags, absent, qemu.TCG, "file does not exist"},
		{"auto", intelFlags, denied, qemu.TCG, "group kvm"},
		{"kvm", intelFlags, denied, qemu.TCG, "group kvm"},
		{"kvm", "", nil, qemu.TCG, "neither"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s/%q/%v", tt.asked, tt.cpuinfo, tt.kvm), func(t *testing.T) {
			got, note, err := choose(tt.asked, host{cpuinfo: tt.cpuinfo, openKVM: func() error { return tt.kvm }})
			if err != nil || got != tt.want {
				t.Errorf("choose = %q, %v, want %q", got, err, tt.want)
			}
			if (note == "") != (tt.note == "") || !strings.Contains(note, tt.note) || strings.Contains(note, "\n") {
				t.Errorf("note = %q, want one line with %q", note, tt.note)
			}
		})
	}
	_, _, err := choose("hvf", host{cpuinfo: intelFlags, openKVM: func() error { return nil }})
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != ExitUsage {
		t.Errorf("choose(hvf) = %v, want an input error", err)
	}
}
