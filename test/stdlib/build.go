package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"kiln/image/bootinfo"
)

// linuxBinary and metalBinary compile the tests of p into dir. The two differ
// only in where the linker places them.
func linuxBinary(ctx context.Context, p pkg, dir string) (string, error) {
	return compile(ctx, p, filepath.Join(dir, "linux.test"))
}

func metalBinary(ctx context.Context, p pkg, dir string) (string, error) {
	return compile(ctx, p, filepath.Join(dir, "metal.test"),
		fmt.Sprintf("-ldflags=-checklinkname=0 -T=%d", bootinfo.KernelLinkText))
}

func compile(ctx context.Context, p pkg, out string, flags ...string) (string, error) {
	args := append([]string{"test", "-c", "-o", out, "-tags=" + p.tags}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, p.path)...)
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("compiling %s: %w\n%s", p.path, err, output)
	}
	return out, nil
}

// sourceDir returns the folder of p's sources, where its tests expect to run.
func sourceDir(ctx context.Context, p pkg) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", p.path).Output()
	if err != nil {
		return "", fmt.Errorf("finding %s: %w", p.path, err)
	}
	return strings.TrimSpace(string(out)), nil
}
