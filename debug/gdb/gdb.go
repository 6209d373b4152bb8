// Package gdb has gdb look into a guest: it knows where the kernel's two programs
// and the guest's own are, and their symbols; how a stack goes on from one to
// the other; and what commands gdb gets for that (kiln.py).
package gdb

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// Binary is gdb, and Package the package of Debian and Ubuntu that has it.
const Binary, Package = "gdb", "gdb"

// script is read by gdb's Python.
//
//go:embed kiln.py
var script []byte

// A Session is one gdb at one machine.
type Session struct {
	Symbols string   // path of the file that package debuginfo has made for the image
	Files   string   // folder with the image's programs and libraries, by their paths
	Target  string   // where QEMU's gdb server listens: a port of localhost, or a socket's path
	Source  string   // folder of Kiln's source, "" if it is not here
	Args    []string // for gdb, behind ours
}

// ErrMissing says that there is no gdb.
var ErrMissing = errors.New("there is no " + Binary + " on this machine")

// Command returns gdb's command, with nothing connected to it. dir is a folder
// of the session's own.
func (s Session) Command(dir string) (*exec.Cmd, error) {
	path, err := exec.LookPath(Binary)
	if err != nil {
		return nil, ErrMissing
	}
	python := filepath.Join(dir, "kiln.py")
	if err := os.WriteFile(python, script, 0o600); err != nil {
		return nil, err
	}
	args := []string{"-q"}
	for _, line := range s.commands(python) {
		args = append(args, "-ex", line)
	}
	cmd := exec.Command(path, append(args, s.Args...)...)
	cmd.Env = append(os.Environ(), "KILN_GDB_FILES="+s.Files)
	return cmd, nil
}

// commands are those that gdb carries out first. Paths are of our own making,
// but for the source's, the socket's and the user's folder for temporary files.
func (s Session) commands(python string) []string {
	lines := []string{
		"set architecture i386:x86-64",
		"set breakpoint pending on",
		"file " + quote(s.Symbols),
		"source " + python, // takes the rest of the line as it is
	}
	if s.Source != "" {
		lines = append(lines, "set substitute-path kiln "+quote(s.Source))
	}
	target := s.Target
	if _, err := strconv.ParseUint(target, 10, 16); err == nil {
		target = "127.0.0.1:" + target
	}
	return append(lines, "target remote "+target, "python attached()")
}

// quote returns one word of gdb's.
func quote(word string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word) + `"`
}

// CheckTarget returns an error for what is neither a port nor a socket.
func CheckTarget(at string) error {
	if n, err := strconv.ParseUint(at, 10, 64); err == nil {
		if n == 0 || n > 65535 {
			return fmt.Errorf("port %s is not from 1 to 65535", at)
		}
		return nil
	}
	st, err := os.Stat(at)
	if err != nil {
		return err
	}
	if st.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("%s is no socket", at)
	}
	return nil
}
