package bake

import "fmt"

// An InputError says what is wrong with what the user gave: a file, an option,
// a destination. Its message is one line.
type InputError struct {
	Name string // the file or option
	Msg  string
	Err  error // the cause, or nil
}

// Error implements error.
func (e *InputError) Error() string {
	s := e.Msg
	if e.Name != "" {
		s = e.Name + ": " + s
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *InputError) Unwrap() error { return e.Err }

// inputErrorf returns an InputError about name.
func inputErrorf(name, format string, args ...any) *InputError {
	return &InputError{Name: name, Msg: fmt.Sprintf(format, args...)}
}

// ioError returns an InputError for a failed operation of package os, whose
// error names the file already.
func ioError(err error) *InputError { return &InputError{Msg: "cannot read the input", Err: err} }
