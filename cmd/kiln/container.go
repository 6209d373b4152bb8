package main

import (
	"bufio"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// containerImage returns the path of the container image that name names, ""
// if it is none: a tar, compressed or not, a folder, or either with the
// transport before it by which other tools name it (containers-transports(5)).
// What is wrong with one, bake says.
func containerImage(name string) (string, error) {
	if path := withoutTransport(name); path != name {
		return path, nil
	}
	st, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil // whoever opens it says so
	}
	if err != nil {
		return "", err
	}
	if st.IsDir() {
		if _, err := os.Stat(filepath.Join(name, "index.json")); err != nil {
			return "", nil
		}
		return name, nil
	}
	if !st.Mode().IsRegular() {
		return "", nil
	}
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	if isArchive(bufio.NewReaderSize(f, 1024)) {
		return name, nil
	}
	return "", nil
}

// withoutTransport returns the path in the name of a container image.
func withoutTransport(name string) string {
	for _, transport := range []string{"oci:", "oci-archive:", "docker-archive:"} {
		if path, ok := strings.CutPrefix(name, transport); ok {
			return path
		}
	}
	return name
}

// isArchive reports whether a file begins as a tar (POSIX.1-2024, pax,
// "ustar Interchange Format"), or as what gzip or zstd write.
func isArchive(r *bufio.Reader) bool {
	const magicAt = 257
	head, _ := r.Peek(magicAt + 5) // less if the file is shorter
	return bytes.HasPrefix(head, []byte{0x1f, 0x8b}) || bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}) ||
		len(head) == magicAt+5 && string(head[magicAt:]) == "ustar"
}
