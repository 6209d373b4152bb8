package machine

import (
	"os"
	"strings"
	"testing"

	"fmt"

	"kiln/kernel/metal/abi"
)

// TestEnterNumber compares the number that enter_amd64.s has to spell out with
// package abi's.
func TestEnterNumber(t *testing.T) {
	src, err := os.ReadFile("enter_amd64.s")
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("MOVL $%#x, AX", abi.SysEnterUser); !strings.Contains(string(src), want) {
		t.Errorf("enter_amd64.s has no %q", want)
	}
}

// TestOnLinux checks that on a host without metal calls fail and say so.
func TestOnLinux(t *testing.T) {
	if _, err := NewPageTable(); err == nil {
		t.Error("NewPageTable succeeded without metal")
	}
	if _, err := Memory(); err == nil || !strings.Contains(err.Error(), "memory state") {
		t.Errorf("Memory() error = %v, want one that names the call", err)
	}
}
