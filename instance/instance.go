// Package instance keeps what is known of each run: its name, its state, its
// log. There is no daemon. A run is looked after by one process, its
// supervisor, which holds a lock on the instance's folder for as long as it
// lives; who wants to know whether an instance runs asks the kernel for that
// lock. What a supervisor that was killed left behind is put right by whoever
// looks next.
//
// On disk:
//
//	$XDG_STATE_HOME/kiln/lock                       names are taken under it
//	$XDG_STATE_HOME/kiln/events, events.old         what happened
//	$XDG_STATE_HOME/kiln/instances/ID/lock          held by the supervisor
//	$XDG_STATE_HOME/kiln/instances/ID/instance.json Config, changed under the store's lock
//	$XDG_STATE_HOME/kiln/instances/ID/state.json    State, written by the holder of ID/lock
//	$XDG_STATE_HOME/kiln/instances/ID/log.N         output
//	$XDG_STATE_HOME/kiln/instances/ID/image         what was baked for it alone
//	$XDG_RUNTIME_DIR/kiln/ID/*.sock                 sockets, while it runs
//
// Lock order: the store's lock, then an instance's.
package instance

import (
	"os"
	"path/filepath"
	"time"
)

// Status is what an instance is doing.
type Status string

const (
	Creating   Status = "creating" // the tool prepares its first start
	Running    Status = "running"
	Restarting Status = "restarting" // its guest has ended, another one will start
	Exited     Status = "exited"
)

// Config is what an instance was made with.
type Config struct {
	ID       string            `json:"id"` // 12 hexadecimal digits
	Name     string            `json:"name"`
	Image    string            `json:"image"`   // as the user named it
	Command  string            `json:"command"` // the command that made it, "run"
	Args     []string          `json:"args"`    // that command's arguments
	Program  []string          `json:"program"` // what runs in the guest
	Dir      string            `json:"dir"`     // where the command was given
	Labels   map[string]string `json:"labels,omitempty"`
	Restart  Policy            `json:"restart"`
	Remove   bool              `json:"remove"`   // it goes away when it ends
	Detached bool              `json:"detached"` // it runs in the background
	Created  time.Time         `json:"created"`
	Log      LogOptions        `json:"log"`
}

// Port is a published port.
type Port struct {
	Proto     string `json:"proto"` // "tcp" or "udp"
	HostIP    string `json:"hostIP"`
	HostPort  uint16 `json:"hostPort"`
	GuestPort uint16 `json:"guestPort"`
}

// State is what became of an instance.
type State struct {
	Status   Status    `json:"status"`
	PID      int       `json:"pid"`               // of the supervisor; 0 if there is none
	Guest    Process   `json:"guest"`             // QEMU; the zero value if there is none
	Runtime  string    `json:"runtime,omitempty"` // folder of the sockets
	Started  time.Time `json:"started,omitzero"`  // the last time
	Finished time.Time `json:"finished,omitzero"`
	ExitCode int       `json:"exitCode"`        // of the last run
	Error    string    `json:"error,omitempty"` // why it ended, if not by its program's exit
	Restarts int       `json:"restarts"`        // by its policy, since it was last started by a command
	Runs     int       `json:"runs"`            // how many guests have been started
	Ports    []Port    `json:"ports,omitempty"`
}

// Instance is a run, as it was when it was looked up.
type Instance struct {
	Config
	State State `json:"state"`

	store  *Store
	folder string
	locked bool // another process held the lock
}

// Folder returns the folder that stays: records, logs, an image that was baked
// for this instance alone.
func (i *Instance) Folder() string { return i.folder }

// RuntimeFolder returns the folder of the sockets, which exists while the
// instance runs.
func (i *Instance) RuntimeFolder() string { return i.State.Runtime }

// ControlSocket returns the path of the Unix socket that package run serves
// while the guest runs.
func (i *Instance) ControlSocket() string { return filepath.Join(i.State.Runtime, "control.sock") }

// SupervisorSocket returns the path of the Unix socket that the supervisor
// serves, between two guests too.
func (i *Instance) SupervisorSocket() string {
	return filepath.Join(i.State.Runtime, "supervisor.sock")
}

// Up reports whether the instance has a supervisor.
func (i *Instance) Up() bool { return i.State.Status == Running || i.State.Status == Restarting }

// ImageFile returns where the instance's own image is, if one was baked for it.
func (i *Instance) ImageFile() string { return filepath.Join(i.folder, "image") }

// HasImage reports whether an image was baked for it.
func (i *Instance) HasImage() bool {
	_, err := os.Stat(i.ImageFile())
	return err == nil
}

// CrashFile returns where a supervisor in the background writes if it crashes.
func (i *Instance) CrashFile() string { return filepath.Join(i.folder, "supervisor.err") }

const (
	configFile = "instance.json"
	stateFile  = "state.json"
	lockFile   = "lock"
)
