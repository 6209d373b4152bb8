package instance

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// The locks are those of open file descriptions (fcntl(2), F_OFD_SETLK): as
// with flock(2) the kernel lets go of one when the last process ends that has
// the file open, and a child can inherit it. Beyond flock, who only asks need
// not take the lock, and so cannot be in the way of who wants it.

// errLocked says that another process holds the lock.
var errLocked = errors.New("locked by another process")

// wholeFile is a lock of kind typ.
func wholeFile(typ int16) *unix.Flock_t { return &unix.Flock_t{Type: typ, Whence: io.SeekStart} }

// openLock opens a lock file, which it makes if there is none.
func openLock(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
}

// tryLock takes the lock on f, which is held until f and all that a child has
// inherited of it are closed. The error may be errLocked.
func tryLock(f *os.File) error {
	err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, wholeFile(unix.F_WRLCK))
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return errLocked
	}
	return os.NewSyscallError("fcntl "+f.Name(), err)
}

// waitLock takes the lock on f, and waits for it.
func waitLock(f *os.File) error {
	for {
		err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLKW, wholeFile(unix.F_WRLCK))
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("fcntl "+f.Name(), err)
		}
	}
}

// isLocked reports whether a process holds the lock on the file at path.
func isLocked(path string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	lock := wholeFile(unix.F_WRLCK)
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, lock); err != nil {
		return false, os.NewSyscallError("fcntl "+path, err)
	}
	return lock.Type != unix.F_UNLCK, nil
}
