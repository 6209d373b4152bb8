// Package sentry boots gVisor's Sentry on the machine and runs the image's
// Linux program as its init process, or several programs after one another.
//
// The order of boot is Boot's body. Run starts the program and returns how it
// ended; the program's end is the machine's.
//
// Context: ordinary goroutines. Lock order: the Sentry's own locks, then
// memory.mu; nothing of this package is held while a lock of the Sentry is
// taken, except where a comment says so.
package sentry

import (
	"os"
	"time"

	"kiln/image"
	"kiln/kernel/sentry/network"
	"kiln/kernel/uplink"
	"kiln/kernel/virtio"
)

// Config is what to run, and how.
type Config struct {
	Programs []Program
	Env      []string    // KEY=VALUE
	User     *image.User // whom the programs run as; root if nil
	Cwd      string      // "/" if empty
	Hostname string      // "kiln" if empty

	// Processes bounds the number of tasks of a user (RLIMIT_NPROC); 0
	// means no bound. With a bound, init gives up CAP_SYS_ADMIN and
	// CAP_SYS_RESOURCE, which would lift it.
	Processes uint64

	// RootFS is the root file system's image (EROFS). Boot takes it over.
	RootFS *os.File

	// Devices are the machine's virtio devices, and Broken says what is wrong
	// with others.
	Devices []virtio.Found
	Broken  error

	// Link is the channel to the host; nil: there is none, and the serial
	// port is the console.
	Link *uplink.Link

	// Interfaces are the network interfaces, in the order of the machine's
	// network devices.
	Interfaces []network.Interface

	// Mounts are the file systems to mount before the program starts.
	Mounts []image.Mount

	// Pipes are named pipes to make in the root file system.
	Pipes []image.Pipe

	// Terminal gives the program a terminal of its own on the console;
	// without it, output goes to the console as it is.
	Terminal   bool
	Rows, Cols uint16 // of the terminal; 0 if not known

	// Stdin lets the program read the console. Without it, and without a
	// Terminal, standard input is at its end.
	Stdin bool

	// Faults has one in so many promises of memory fail, for tests; 0 for none.
	Faults uint64

	Strace  string // what is printed of system calls: "", image.StraceCalls or image.StraceCount
	Verbose bool   // the Sentry's own log goes to the console

	// Stop is the signal of a shutdown request, without "SIG"; "" for TERM.
	Stop string
	// Grace is how long a program may take to end after a shutdown request.
	Grace time.Duration

	// Poll makes goroutines runnable whose descriptors are ready, see
	// platform.Hooks.
	Poll func()
}

// Program is a program to run.
type Program struct {
	Path string   // if empty, Args[0], through PATH unless it has a slash
	Args []string // argv
	Mode string   // image.ModeForeground, ModeBackground or ModePipe
}

// Exit is how the program ended.
type Exit struct {
	Code   int    // exit status as a shell sees it: 128+n for signal n
	Reason string // a sentence if a signal ended it, else empty
}
