// Package image is the contract between bake, which writes images, run, which
// starts them, and the guest: the manifest inside the image, the run
// configuration beside it, and how an image file is read back.
//
// docs/image.md is the specification.
package image

import "kiln/image/buildnote"

// ManifestVersion is the Manifest.Version that this package describes.
const ManifestVersion = 1

// Manifest says what an image runs, and how. It is stored in the image as JSON.
type Manifest struct {
	Version int    `json:"version"`
	Config  string `json:"config"`  // the bake configuration, "hw_generic"
	Program string `json:"program"` // path of the program in the guest

	// Programs are the paths of all programs, Program first, of an image that
	// was baked with several. Program runs unless RunConfig.Commands says which.
	Programs []string `json:"programs,omitempty"`

	Args []string `json:"args"` // argv; Args[0] is the program
	// FixedArgs is how many of Args a run's own arguments leave in place;
	// 0 means one.
	FixedArgs int `json:"fixedArgs,omitempty"`
	// ReplaceProgram says that a run's own arguments replace all of Args, and
	// Program too, as those of a container image without an entry point do.
	ReplaceProgram bool `json:"replaceProgram,omitempty"`

	Env      []string `json:"env,omitempty"`      // KEY=VALUE
	User     *User    `json:"user,omitempty"`     // whom the program runs as; root if nil
	Cwd      string   `json:"cwd,omitempty"`      // "/" if empty
	Hostname string   `json:"hostname,omitempty"` // "kiln" if empty

	// StopSignal is what asks the program to end, as in signal(7) without
	// "SIG"; TERM if empty.
	StopSignal string `json:"stopSignal,omitempty"`

	Memory  int       `json:"memory,omitempty"`  // MB that a run gets by default
	Network []Network `json:"network,omitempty"` // defaults, as in RunConfig
	Ports   []string  `json:"ports,omitempty"`   // HOST:GUEST published by default
	Exposed []string  `json:"exposed,omitempty"` // PORT/tcp or PORT/udp where it serves, for people
	Mounts  []Mount   `json:"mounts,omitempty"`  // in this order, before RunConfig's

	// Pipes are the named pipes of the root file system. The guest makes
	// them: those in its image could not be opened.
	Pipes []Pipe `json:"pipes,omitempty"`

	Health *Health  `json:"health,omitempty"` // how to see whether the program is well; for people
	Labels []string `json:"labels,omitempty"` // KEY=VALUE, by key; for people

	// Files is what the root file system holds. The guest does without it: it
	// is stored beside the loaded part of the image.
	Files []File `json:"-"`
}

// Argv returns what runs when a run has args of its own: see FixedArgs.
func (m Manifest) Argv(args []string) []string {
	argv := m.Args
	if len(argv) == 0 {
		argv = []string{m.Program}
	}
	if len(args) == 0 {
		return argv
	}
	if m.ReplaceProgram {
		return args
	}
	fixed := min(max(m.FixedArgs, 1), len(argv))
	return append(argv[:fixed:fixed], args...)
}

// User is whom a program runs as.
type User struct {
	UID    uint32   `json:"uid"`
	GID    uint32   `json:"gid"`
	Groups []uint32 `json:"groups,omitempty"` // beside GID
}

// Pipe is a named pipe (fifo(7)).
type Pipe struct {
	Path string `json:"path"`
	Mode uint32 `json:"mode"` // permissions, as in st_mode
	UID  uint32 `json:"uid,omitempty"`
	GID  uint32 `json:"gid,omitempty"`
}

// Health is a container image's own check of its program (Docker's HEALTHCHECK).
// Times are in milliseconds; 0 means Docker's default.
type Health struct {
	Test        []string `json:"test"` // CMD and argv, or CMD-SHELL and a line for the shell; NONE for no check
	Interval    int      `json:"interval,omitempty"`
	Timeout     int      `json:"timeout,omitempty"`
	StartPeriod int      `json:"startPeriod,omitempty"`
	Retries     int      `json:"retries,omitempty"`
}

// File is one file of the root file system and where it came from.
type File struct {
	Path   string `json:"path"`             // in the guest
	Source string `json:"source"`           // "program", "library", "runtime", "traced", "added", "base"
	Link   string `json:"link,omitempty"`   // of symbolic links: the target
	Size   int64  `json:"size"`             // bytes of regular files
	SHA256 string `json:"sha256,omitempty"` // of regular files, hex

	Build *buildnote.Build `json:"build,omitempty"` // of ELF files that say
}

// Network is the configuration of one network interface, in the order of the
// machine's devices.
type Network struct {
	Name    string   `json:"name,omitempty"`    // the user's name for it, "if" in -I if,…
	IPv4    string   `json:"ipv4"`              // "dhcp", "static" or "none"
	Address string   `json:"address,omitempty"` // static: ADDRESS/BITS
	Gateway string   `json:"gateway,omitempty"`
	IPv6    string   `json:"ipv6"` // "auto", "static" or "none"
	Addr6   string   `json:"address6,omitempty"`
	Gate6   string   `json:"gateway6,omitempty"`
	DNS     []string `json:"dns,omitempty"`
}

// Mount is a file system that the guest mounts before its program starts.
// Either Device or Tag says what is mounted, or Type is MemoryFS.
type Mount struct {
	Device   string `json:"device,omitempty"`   // block device: "vda" is the machine's first, "vda1" a partition of it, or PartUUID
	Tag      string `json:"tag,omitempty"`      // mount tag of a 9P device
	Path     string `json:"path"`               // mount point, absolute; made if missing
	Type     string `json:"type,omitempty"`     // "" for what is recognised on the device
	ReadOnly bool   `json:"readOnly,omitempty"` // refuse changes
	Source   string `json:"source,omitempty"`   // the user's name for it, for messages
	UID      uint32 `json:"uid,omitempty"`      // 9P: who is root in the guest, on the host
	GID      uint32 `json:"gid,omitempty"`
	Size     string `json:"size,omitempty"` // MemoryFS: bytes that it may take, "64m"
}

// PartUUID begins a Mount.Device that is a partition of whichever disk; behind it
// is the partition's GUID (UEFI 2.10 §5.3.3).
const PartUUID = "PARTUUID="

// MemoryFS is the Mount.Type of a file system in memory.
const MemoryFS = "tmpfs"

// Command is one program of those that a boot runs, one after the other.
type Command struct {
	Program string   `json:"program"` // path in the guest
	Args    []string `json:"args"`    // argv
	Mode    string   `json:"mode,omitempty"`
}

// The values of Command.Mode.
const (
	// ModeForeground: the next command is run once this has ended, with
	// status 0. With another, the boot ends.
	ModeForeground = ""
	// ModeBackground: the next command is run at once. The boot does not end
	// before this command does.
	ModeBackground = "&"
	// ModePipe: as ModeBackground, and what this command writes to its
	// standard output is the next one's standard input.
	ModePipe = "|"
)

// DefaultStopTimeout is RunConfig.StopTimeout's default, in milliseconds.
const DefaultStopTimeout = 10_000

// The values of RunConfig.Strace.
const (
	StraceCalls = "calls" // each call, as it returns
	StraceCount = "count" // in the end, how often which was made
)

// RunConfig is what `kiln run` passes to one boot, as the machine's initrd, in
// JSON.
type RunConfig struct {
	Args        []string  `json:"args,omitempty"`     // replace the manifest's from Args[1] on
	Commands    []Command `json:"commands,omitempty"` // run these instead of the manifest's program
	Env         []string  `json:"env,omitempty"`      // in addition
	Cwd         string    `json:"cwd,omitempty"`
	Hostname    string    `json:"hostname,omitempty"`
	Interactive bool      `json:"interactive,omitempty"` // the console is the program's terminal
	Stdin       bool      `json:"stdin,omitempty"`       // standard input comes over the console
	Rows        uint16    `json:"rows,omitempty"`        // of the terminal
	Cols        uint16    `json:"cols,omitempty"`
	Verbose     bool      `json:"verbose,omitempty"`     // the Sentry's log on the console
	Processes   uint64    `json:"processes,omitempty"`   // RLIMIT_NPROC; 0: none
	Strace      string    `json:"strace,omitempty"`      // what is printed of system calls: "", StraceCalls or StraceCount
	Faults      uint64    `json:"faults,omitempty"`      // for tests: one in so many promises of memory fails; 0: none
	Network     []Network `json:"network,omitempty"`     // replaces the manifest's
	Mounts      []Mount   `json:"mounts,omitempty"`      // after the manifest's
	StopTimeout int       `json:"stopTimeout,omitempty"` // ms from a request to end until the host ends the machine; 0: the default
}
