// Command pack compresses the kernel components for package bake. build.sh
// runs it: pack INPUT OUTPUT [DEBUG].
//
// Symbols and DWARF of INPUT stay out of OUTPUT. They go to a file of folder
// DEBUG (image/debuginfo), which is written anew, so that its time tells it from
// what earlier builds have left there.
//
// The output begins with a skippable frame that holds the input's SHA-256, so
// that the work is done only when the input changed.
package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"

	"kiln/image/debuginfo"
)

// skippable is the head of a zstd skippable frame of 32 bytes (RFC 8878
// §3.1.2).
var skippable = []byte{0x50, 0x2a, 0x4d, 0x18, sha256.Size, 0, 0, 0}

func main() {
	if len(os.Args) < 3 || len(os.Args) > 4 {
		fmt.Fprintln(os.Stderr, "usage: pack INPUT OUTPUT [DEBUG]")
		os.Exit(2)
	}
	if err := pack(os.Args[1], os.Args[2], append(os.Args[3:], "")[0]); err != nil {
		fmt.Fprintf(os.Stderr, "pack: %v\n", err)
		os.Exit(1)
	}
}

// pack compresses what is loaded of file in to out, unless out has been made of
// the same bytes, and keeps the rest in folder debug, unless that is "".
func pack(in, out, debug string) error {
	program, err := os.ReadFile(in)
	if err != nil {
		return err
	}
	b, described, err := debuginfo.Split(program)
	if err != nil {
		return fmt.Errorf("%s: %w", in, err)
	}
	if debug != "" && described != nil {
		if err := keep(b, described, debug); err != nil {
			return fmt.Errorf("%s: %w", in, err)
		}
	}
	sum := sha256.Sum256(b)
	head := append(append([]byte(nil), skippable...), sum[:]...)
	if old, err := os.ReadFile(out); err == nil && bytes.HasPrefix(old, head) {
		return nil
	}
	// Level 3 of 4: of the kernel's 18 MB it leaves 5 MB, and what the last
	// level would save is not worth its seconds at each build.
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBetterCompression))
	if err != nil {
		return err
	}
	packed := enc.EncodeAll(b, head)
	if err := enc.Close(); err != nil {
		return err
	}
	if err := replace(out, packed); err != nil {
		return err
	}
	fmt.Printf("%s: %.1f MB, %.1f MB compressed\n", filepath.Base(in), float64(len(b))/1e6, float64(len(packed))/1e6)
	return nil
}

// keep puts what describes program into folder debug, under the name of its
// code.
func keep(program, described []byte, debug string) error {
	id, err := debuginfo.ProgramID(program)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(debug, 0o755); err != nil {
		return err
	}
	return replace(filepath.Join(debug, debuginfo.FileName(id)), described)
}

// replace gives the file at path the content b by a rename, so that no build
// sees half of it.
func replace(path string, b []byte) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, b, 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
