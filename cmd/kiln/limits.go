package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// leastFiles is how many more files than now a command must be able to open.
// The Go runtime stops with a report of its own innards when it cannot have the
// first few, and QEMU inherits the limit.
const leastFiles = 32

// checkFiles reports whether enough files can be opened, and if not tells w.
// name is argv[0].
func checkFiles(name string, w io.Writer) bool {
	var open []int
	defer func() {
		for _, fd := range open {
			syscall.Close(fd)
		}
	}()
	for range leastFiles {
		// Not by package os, whose files the runtime takes care of.
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		switch {
		case errors.Is(err, unix.EMFILE):
			var limit unix.Rlimit
			_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) // a number for the message
			fmt.Fprintf(w, "%s: error: too few files may be open at once: %d\n", filepath.Base(name), limit.Cur)
			fmt.Fprintf(w, "%s: hint: raise the limit: ulimit -n 1024\n", filepath.Base(name))
			return false
		case errors.Is(err, unix.ENFILE):
			fmt.Fprintf(w, "%s: error: this machine has too many files open\n", filepath.Base(name))
			return false
		case err != nil:
			return true // no /dev/null to try with
		}
		open = append(open, fd)
	}
	return true
}
