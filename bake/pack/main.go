// Command pack compresses the kernel components for package bake. build.sh
// runs it: pack INPUT OUTPUT.
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
)

// skippable is the head of a zstd skippable frame of 32 bytes (RFC 8878
// §3.1.2).
var skippable = []byte{0x50, 0x2a, 0x4d, 0x18, sha256.Size, 0, 0, 0}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: pack INPUT OUTPUT")
		os.Exit(2)
	}
	if err := pack(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintf(os.Stderr, "pack: %v\n", err)
		os.Exit(1)
	}
}

// pack compresses file in to out, unless out has been made of the same bytes.
func pack(in, out string) error {
	b, err := os.ReadFile(in)
	if err != nil {
		return err
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
	// By a rename, so that no build sees half a component.
	tmp := out + ".new"
	if err := os.WriteFile(tmp, packed, 0o644); err != nil {
		return err
	}
	fmt.Printf("%s: %.1f MB, %.1f MB compressed\n", filepath.Base(in), float64(len(b))/1e6, float64(len(packed))/1e6)
	return os.Rename(tmp, out)
}
