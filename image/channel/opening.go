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
	Exec  *Exec  `json:"exec,omitempty"`  // run a program
	Stat  string `json:"stat,omitempty"`  // write the JSON of a PathState of this path to Stdout
	Read  *Read  `json:"read,omitempty"`  // write an archive of files to Stdout
	Write *Write `json:"write,omitempty"` // unpack an archive from Stdin
	Show  string `json:"show,omitempty"`  // write the JSON of this to Stdout: ShowProcesses or ShowStatistics
}

// What a session may show.
const (
	ShowProcesses  = "processes"  // a []Process
	ShowStatistics = "statistics" // a Statistics
)

// Process is one of the guest's processes.
type Process struct {
	ID      int      `json:"id"`
	Parent  int      `json:"parent"` // 0: none in the guest
	UID     uint32   `json:"uid"`
	Threads int      `json:"threads"`
	Memory  uint64   `json:"memory"`  // bytes that are resident
	CPU     int      `json:"cpu"`     // ms that it took of the processor
	Age     int      `json:"age"`     // ms since it began
	Command []string `json:"command"` // argv, or the name in brackets if it has none
}

// Statistics is what a guest uses.
type Statistics struct {
	Memory    uint64      `json:"memory"`    // bytes that are in use and cannot be had for something else
	Total     uint64      `json:"total"`     // bytes of memory
	Processes int         `json:"processes"` // and threads
	Network   []Interface `json:"network"`
}

// Interface is what went over a network interface, but for the loopback.
type Interface struct {
	Name     string `json:"name"`
	Received uint64 `json:"received"` // bytes
	Sent     uint64 `json:"sent"`     // bytes
}

// MarshalShown returns the JSON of what a session shows.
func MarshalShown(v any) ([]byte, error) { return image.MarshalBytes(v) }

// UnmarshalShown reads the JSON of what a session shows into what v points to.
func UnmarshalShown(b []byte, v any) error { return image.UnmarshalBytes(b, v) }

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

// Read is files to read as an archive: a tar stream.
type Read struct {
	Path   string `json:"path"`             // absolute: a file, or a folder with all that is in it
	Name   string `json:"name"`             // what it is called in the archive
	Follow bool   `json:"follow,omitempty"` // if it is a link, what that leads to is meant
}

// Write is where to unpack an archive.
type Write struct {
	Path   string `json:"path"`             // absolute: a folder that is there
	Owners bool   `json:"owners,omitempty"` // files have the archive's owners; else they are root's
}

// PathState is what is at a path, behind links.
type PathState struct {
	Exists bool   `json:"exists"`
	Folder bool   `json:"folder"`
	Link   bool   `json:"link"` // the path itself is a link, whether to something or not
	Path   string `json:"path"` // with no link in it; "" if it does not exist
}

// JSON returns what is written of it.
func (p PathState) JSON() ([]byte, error) { return image.MarshalBytes(&p) }

// ParsePathState reads what is written of a PathState.
func ParsePathState(b []byte) (p PathState, err error) {
	return p, image.UnmarshalBytes(b, &p)
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
	set := 0
	for _, is := range []bool{o.Exec != nil, o.Stat != "", o.Read != nil, o.Write != nil, o.Show != ""} {
		if is {
			set++
		}
	}
	if set != 1 {
		return Opening{}, errors.New("this kernel does not know what the session is for: bake the image again with this kiln")
	}
	if o.Exec != nil && len(o.Exec.Args) == 0 {
		return Opening{}, errors.New("no program is named")
	}
	return o, nil
}
