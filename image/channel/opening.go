package channel

import (
	"errors"
	"fmt"

	"kiln/image"
)

// MaxOpening is how many bytes the JSON of an Opening has at most.
const MaxOpening = 1 << 20

// An Opening is what a session is for. Exactly one field is set.
type Opening struct {
	Exec *Exec `json:"exec,omitempty"` // run a program
}

// Exec is a program to run beside process 1, in the same root. Its output is the
// session's, and its exit status, too.
type Exec struct {
	Args     []string `json:"args"`               // argv; the first is looked for in PATH
	Env      []string `json:"env,omitempty"`      // KEY=VALUE, in addition to the program's
	Cwd      string   `json:"cwd,omitempty"`      // "" is the program's
	User     string   `json:"user,omitempty"`     // USER[:GROUP], names or numbers; "" is the program's
	Terminal bool     `json:"terminal,omitempty"` // it gets a terminal of its own, whose output is Stdout
	Stdin    bool     `json:"stdin,omitempty"`    // the session's Stdin is its input
	Detach   bool     `json:"detach,omitempty"`   // the session ends when it has begun
	Rows     uint16   `json:"rows,omitempty"`     // of the terminal
	Cols     uint16   `json:"cols,omitempty"`
}

// Exit statuses of a session beside a program's own, as a shell and docker have
// them.
const (
	ExitFailed     = 125 // what was asked for could not be done, as a notice says
	ExitNoPermit   = 126 // the program cannot be executed
	ExitNotFound   = 127 // there is no such program
	ExitGuestEnded = 137 // the machine has ended: 128+SIGKILL
)

// JSON returns what a session begins with.
func (o Opening) JSON() ([]byte, error) {
	b, err := image.MarshalBytes(&o)
	if err == nil && len(b) > MaxOpening {
		err = fmt.Errorf("arguments and environment of %d bytes are too long: at most %d go into a running guest", len(b), MaxOpening)
	}
	return b, err
}

// ParseOpening reads what a session begins with.
func ParseOpening(b []byte) (Opening, error) {
	var o Opening
	if err := image.UnmarshalBytes(b, &o); err != nil {
		return Opening{}, ruleError("an opening that is no JSON: %v", err)
	}
	if o.Exec == nil {
		return Opening{}, errors.New("this kernel does not know what the session is for: bake the image again with this kiln")
	}
	if len(o.Exec.Args) == 0 {
		return Opening{}, errors.New("no program is named")
	}
	return o, nil
}
