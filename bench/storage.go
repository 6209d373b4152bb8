package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Both systems mount the same kind of image at this place, and their QEMUs
// open it in the same way.
const (
	diskMount = "/disk"
	diskSize  = 512 << 20 // bytes
	seqSize   = 96 << 20
	randSize  = 192 << 20
)

// redisAppendArgs make Redis keep an append-only file on the disk.
var redisAppendArgs = []string{"--dir", diskMount, "--save", "", "--appendonly", "yes", "--appendfsync", "everysec",
	"--protected-mode", "no", "--bind", "0.0.0.0"}

// makeDisk makes the image that each measurement gets a copy of.
func makeDisk(ctx context.Context, dir string) error {
	master := filepath.Join(dir, "disk-master.img")
	if _, err := os.Stat(master); err == nil {
		return nil
	}
	content, err := os.MkdirTemp(dir, "disk-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(content)
	for name, size := range map[string]int{"seq": seqSize, "rand": randSize} {
		pattern := bytes.Repeat([]byte(name+"\n"), size/(len(name)+1)+1)[:size]
		if err := os.WriteFile(filepath.Join(content, name), pattern, 0o644); err != nil {
			return err
		}
	}
	temporary := master + ".new"
	if err := os.WriteFile(temporary, nil, 0o644); err != nil {
		return err
	}
	if err := os.Truncate(temporary, diskSize); err != nil {
		return err
	}
	// Inode tables in place: else Linux would make them while it is measured.
	out, err := exec.CommandContext(ctx, "mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-d", content, temporary).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mkfs.ext4: %w\n%s", err, out)
	}
	return os.Rename(temporary, master)
}

// freshDisk returns a copy of the image that nothing has been done to.
func freshDisk(ctx context.Context, dir string) error {
	out, err := exec.CommandContext(ctx, "cp", "--sparse=always", filepath.Join(dir, "disk-master.img"), diskImage(dir)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("cp: %w\n%s", err, out)
	}
	return nil
}

func diskImage(dir string) string { return filepath.Join(dir, "disk.img") }

// storageRates measures a file system.
func storageRates(s system) ([]sample, error) {
	if err := freshDisk(context.Background(), s.folder()); err != nil {
		return nil, err
	}
	_, out, err := runUntil(s, storage, 256, "storage: ok", 5*time.Minute)
	if err != nil {
		return nil, err
	}
	return parseStorage(out), nil
}

// parseStorage reads lines "NAME VALUE" and passes over the others.
func parseStorage(out string) []sample {
	var samples []sample
	for line := range strings.Lines(out) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "s ")
		if v, err := strconv.ParseFloat(value, 64); ok && err == nil {
			samples = append(samples, sample{"disk: " + name + "s", v})
		}
	}
	return samples
}

// redisAppendRates measures Redis with its append-only file on the disk.
func redisAppendRates(s system, n *network) ([]sample, error) {
	if err := freshDisk(context.Background(), s.folder()); err != nil {
		return nil, err
	}
	return redisRun(s, n, redisAppend, "redis everysec", []string{"-t", "set", "-n", "20000", "-c", "50"})
}
