package instance

import "fmt"

// Error is about what the user asked for.
type Error struct {
	Msg  string
	Hint string // "" if there is nothing to say
	// Missing says that no instance goes by the name.
	Missing bool
}

func (e *Error) Error() string { return e.Msg }

func fail(hint, format string, args ...any) *Error {
	return &Error{Msg: fmt.Sprintf(format, args...), Hint: hint}
}
