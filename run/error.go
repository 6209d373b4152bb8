package run

// The exit statuses of a run beside the program's own.
const (
	ExitUsage   = 2   // bad input
	ExitMachine = 125 // QEMU failed or was killed
	ExitKilled  = 137 // the program did not end when asked: 128+SIGKILL
	ExitCrash   = 254 // the kernel crashed
)

// Error is a run that failed otherwise than by its program's exit status. It
// tells the cause and, where there is one, the way out.
type Error struct {
	Code int // exit status
	Msg  string
	Hint string // "" if there is nothing to say
}

func (e *Error) Error() string { return e.Msg }

// inputError is an Error about what the user asked for.
func inputError(msg, hint string) *Error { return &Error{ExitUsage, msg, hint} }
