package image

import "fmt"

// A FormatError says what is wrong with an image file, and where.
type FormatError struct {
	Off int64  // in the file
	Msg string // what is wrong
	Val any    // the value found there, or nil
}

// Error implements error.
func (e *FormatError) Error() string {
	if e.Val == nil {
		return fmt.Sprintf("not a sound Kiln image: %s at offset %#x", e.Msg, e.Off)
	}
	format := "not a sound Kiln image: %s at offset %#x: %v"
	switch e.Val.(type) {
	case uint32, uint64, int64:
		format = "not a sound Kiln image: %s at offset %#x: %#x"
	}
	return fmt.Sprintf(format, e.Msg, e.Off, e.Val)
}
