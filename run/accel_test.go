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
	intelFlags = "processor\t: 0\nflags\t\t: fpu vme sse2 vmx ssse3 syscall nx lm fsgsbase\nvmx flags\t: vnmi\n"
	amdFlags   = "processor\t: 0\nflags\t\t: fpu sse2 syscall nx lm svm fsgsbase\n"
	oldFlags   = "processor\t: 0\nflags\t\t: fpu vme sse2 vmx ssse3 syscall nx lm\n" // Sandy Bridge
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
		{"auto", oldFlags, nil, qemu.TCG, "no fsgsbase"},
		{"kvm", oldFlags, nil, qemu.TCG, "no fsgsbase"},
		{"qemu", oldFlags, nil, qemu.TCG, ""},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s/%q/%v", tt.asked, tt.cpuinfo, tt.kvm), func(t *testing.T) {
			got, note, err := choose(tt.asked, "", host{cpuinfo: tt.cpuinfo, openKVM: func() error { return tt.kvm }})
			if err != nil || got != tt.want {
				t.Errorf("choose = %q, %v, want %q", got, err, tt.want)
			}
			if (note == "") != (tt.note == "") || !strings.Contains(note, tt.note) || strings.Contains(note, "\n") {
				t.Errorf("note = %q, want one line with %q", note, tt.note)
			}
		})
	}
	works := func() error { return nil }
	for _, tt := range []struct {
		asked, model, cpuinfo, want string // want: part of the error, "" for none
	}{
		{"hvf", "", intelFlags, "hvf"},
		{"auto", "host", intelFlags, ""},
		{"auto", "host,-avx", oldFlags, "fsgsbase"},
		{"qemu", "host", intelFlags, "--cpu host"},
		{"qemu", "hostile", intelFlags, ""},
		{"auto", "qemu64", oldFlags, ""},
	} {
		_, _, err := choose(tt.asked, tt.model, host{cpuinfo: tt.cpuinfo, openKVM: works})
		if tt.want == "" {
			if err != nil {
				t.Errorf("choose(%q, %q) = %v", tt.asked, tt.model, err)
			}
			continue
		}
		if e, ok := errors.AsType[*Error](err); !ok || e.Code != ExitUsage || !strings.Contains(e.Msg, tt.want) {
			t.Errorf("choose(%q, %q) = %v, want an input error with %q", tt.asked, tt.model, err, tt.want)
		}
	}
}
