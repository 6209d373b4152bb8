package main

import (
	"context"
	"fmt"
	"os/exec"
	"time"
)

// variant is the Linux guest on another machine type or by another entry.
type variant struct {
	linuxSystem
	machine, image string
}

func (v variant) command(ctx context.Context, p program, mb int) *exec.Cmd {
	return exec.CommandContext(ctx, "qemu-system-x86_64", v.flags(v.machine, v.image, p, mb)...)
}

// compareMachines prints how fast hello boots on each machine type, so that
// the comparison uses the fastest.
func compareMachines(ctx context.Context, l linuxSystem, rounds int) error {
	for _, machine := range []string{"microvm,acpi=off", "microvm", "pc", "q35"} {
		for _, image := range []string{l.kernel.Vmlinux, l.kernel.BzImage} {
			var times []float64
			failed := 0
			for range rounds {
				if err := ctx.Err(); err != nil {
					return err
				}
				took, _, err := runUntil(variant{l, machine, image}, hello, 256, "hello, kiln", 20*time.Second)
				if err != nil {
					failed++
					continue
				}
				times = append(times, took.Seconds()*1000)
			}
			fmt.Printf("%-18s %-10s %6.0f ms, %d of %d did not boot\n", machine, entry(image, l), median(times), failed, rounds)
		}
	}
	return nil
}

func entry(image string, l linuxSystem) string {
	if image == l.kernel.Vmlinux {
		return "PVH"
	}
	return "bzImage"
}
