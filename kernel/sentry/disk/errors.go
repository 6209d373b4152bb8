package disk

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
	sentryerrors "gvisor.dev/gvisor/pkg/errors"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"

	"kiln/kernel/fs"
	"kiln/kernel/notice"
)

// maxErrno is the highest error number that Linux has.
const maxErrno = 133

// errno turns an error of a file system into what the Sentry returns to
// programs. One that carries no error number is EIO.
func (d *Filesystem) errno(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	if _, ok := err.(*sentryerrors.Error); ok {
		return err
	}
	e := syscall.EIO
	if !errors.As(err, &e) || e <= 0 || e > maxErrno {
		e = syscall.EIO
	}
	if e == syscall.EIO || e == fs.EUCLEAN {
		d.reporter.report("", err)
	}
	if e == syscall.EAGAIN {
		return linuxerr.ErrWouldBlock
	}
	switch e {
	case 41, 58, 64: // numbers that Linux does not use, and ErrorFromUnix panics at
		e = syscall.EIO
	}
	return linuxerr.ErrorFromUnix(unix.Errno(e))
}

// errClosed is what becomes of files that are open when their file system is
// shut down.
var errClosed = fmt.Errorf("the file system is shut down: %w", syscall.EIO)

// reporter gives notices about failures, one of each kind.
type reporter struct {
	source string

	mu   sync.Mutex
	seen map[string]bool // guarded by mu
}

// maxReports bounds how many kinds of failure are told apart.
const maxReports = 16

// report gives a notice of err, unless one like it was given.
func (r *reporter) report(what string, err error) {
	kind := what
	if e := syscall.Errno(0); errors.As(err, &e) {
		kind = fmt.Sprintf("%s %d", what, int(e))
	}
	r.mu.Lock()
	if r.seen == nil {
		r.seen = make(map[string]bool)
	}
	known := r.seen[kind] || len(r.seen) >= maxReports
	r.seen[kind] = true
	r.mu.Unlock()
	if known {
		return
	}
	if what != "" {
		what += ": "
	}
	notice.Printf("%s: %s%v", r.source, what, err)
}
