package ext4

import (
	"errors"
	"fmt"

	"kiln/kernel/fs"
)

// A damageError says what is wrong on the disk. It is EUCLEAN.
type damageError struct{ msg string }

func (e *damageError) Error() string { return "ext4: " + e.msg + ": " + fs.EUCLEAN.Error() }
func (e *damageError) Unwrap() error { return fs.EUCLEAN }

// maxDamageLines bounds what damage says in the log: a damaged tree that is
// walked again and again must not flood it.
const maxDamageLines = 20

// damaged logs damage on the disk and returns it as an error.
func (f *FS) damaged(format string, args ...any) error {
	msg := fmt.Sprintf(format, args...)
	switch n := f.damageLines.Add(1); {
	case n < maxDamageLines:
		f.log("damage: %s; run e2fsck", msg)
	case n == maxDamageLines:
		f.log("damage: %s; further damage is not reported", msg)
	}
	return &damageError{msg}
}

// log writes a line to the caller's log.
func (f *FS) log(format string, args ...any) {
	if f.opts.Log != nil {
		f.opts.Log("ext4: " + fmt.Sprintf(format, args...))
	}
}

// isDamage reports whether err comes from damage on the disk.
func isDamage(err error) bool { return errors.Is(err, fs.EUCLEAN) }
