package qemu

import (
	"os"
	"testing"
	"time"
)

func TestUse(t *testing.T) {
	before, err := cpuOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); time.Since(began) < 20*time.Second; {
		if now, err := cpuOf(os.Getpid()); err != nil {
			t.Fatal(err)
		} else if now > before {
			return
		}
	}
	t.Error("20 s of work took no time of the processor")
}

func TestUseOfNoMachine(t *testing.T) {
	if u, err := UseOf(os.Getpid()); err == nil {
		t.Errorf("UseOf a process without QEMU = %+v", u)
	}
}
