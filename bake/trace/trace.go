// Package trace runs a command and says which files it and its children
// found. strace(1), which must be installed, watches them.
package trace

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrNoStrace means that strace is not installed.
var ErrNoStrace = errors.New("strace is not installed")

// A Command is what to run.
type Command struct {
	Path string   // of the program, absolute
	Args []string // after the program's name
	Env  []string
	Stdio
}

// Stdio is what the command's first three descriptors are.
type Stdio struct {
	In       io.Reader
	Out, Err io.Writer
}

// calls are those by which a program finds a file. To ask whether there is one
// is enough: Python, for instance, reads a module's compiled form, but only if
// its source exists. strace passes over those marked ? if it does not know them.
var calls = []string{
	"open", "openat", "?openat2", "creat", "execve", "execveat", "chdir",
	"stat", "lstat", "newfstatat", "statx", "access", "faccessat", "?faccessat2", "readlink", "readlinkat",
}

// Run runs the command to its end, and returns the absolute paths of the files
// and directories that it opened, executed or asked about and that were there
// before, sorted, and its exit status. When ctx ends, the command is asked to end (SIGTERM).
func Run(ctx context.Context, c Command) (paths []string, status int, err error) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		return nil, 0, ErrNoStrace
	}
	dir, err := os.MkdirTemp("", "kiln-trace-")
	if err != nil {
		return nil, 0, err
	}
	defer os.RemoveAll(dir)
	log := filepath.Join(dir, "log")
	cwd, err := os.Getwd()
	if err != nil {
		return nil, 0, err
	}
	// Strings in hexadecimal (-xx) need no unquoting, and -y says what a
	// descriptor leads to.
	cmd := exec.CommandContext(ctx, strace, append([]string{
		"-f", "-qq", "-y", "-xx", "-s", "0", "-e", "trace=" + strings.Join(calls, ","),
		"-e", "signal=none", "-e", "status=successful", "-o", log, "--", c.Path,
	}, c.Args...)...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Env, c.In, c.Out, c.Err
	// strace itself waits for the command, whatever the signal. If it is
	// killed, so is the command.
	cmd.Cancel = func() error { return endChildren(cmd.Process.Pid) }
	cmd.WaitDelay = 10 * time.Second
	start := time.Now()
	err = cmd.Run()
	if ctx.Err() != nil {
		return nil, 0, context.Cause(ctx)
	}
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		return nil, 0, fmt.Errorf("strace: %w", err)
	}
	f, err := os.Open(log)
	if err != nil {
		return nil, 0, fmt.Errorf("strace wrote nothing: %w", err)
	}
	defer f.Close()
	opened, err := parse(f, cwd)
	if err != nil {
		return nil, 0, err
	}
	paths = slices.DeleteFunc(opened, func(p string) bool { return !isOlder(p, start) })
	return paths, cmd.ProcessState.ExitCode(), nil
}

// endChildren asks a process' children to end.
func endChildren(pid int) error {
	list, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
	if err != nil {
		return err
	}
	for _, child := range strings.Fields(string(list)) {
		n, err := strconv.Atoi(child)
		if err == nil {
			err = syscall.Kill(n, syscall.SIGTERM)
		}
		if err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}

// isOlder reports whether there is a file or directory at p that was there at
// the given time. Where the file system does not know when a file was made, it
// was.
func isOlder(p string, at time.Time) bool {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, p, 0, unix.STATX_BTIME|unix.STATX_TYPE, &st); err != nil {
		return false
	}
	if kind := st.Mode & unix.S_IFMT; kind != unix.S_IFREG && kind != unix.S_IFDIR {
		return false
	}
	return st.Mask&unix.STATX_BTIME == 0 || time.Unix(st.Btime.Sec, int64(st.Btime.Nsec)).Before(at)
}

// call matches a line of strace's: the process, the call, the directory that
// its path is relative to, and the path.
var call = regexp.MustCompile(`^(\d+) +(\w+)\((?:(?:AT_FDCWD|\d+)<((?:\\x[0-9a-f]{2})*)>[^,"]*, )?"((?:\\x[0-9a-f]{2})+)"[,)]`)

// parse returns the paths in what strace wrote, absolute, sorted, each once. cwd
// is where the first process began.
func parse(r io.Reader, cwd string) ([]string, error) {
	lines := bufio.NewReader(r)
	dirs := map[string]string{} // the processes' working directories, as far as they said
	var paths []string
	for {
		line, err := lines.ReadString('\n')
		if m := call.FindStringSubmatch(line); m != nil {
			process, name, dir, p := m[1], m[2], unhex(m[3]), unhex(m[4])
			if dir == "" {
				dir = dirs[process]
			}
			if dir == "" {
				dir = cwd
			}
			if !path.IsAbs(p) {
				p = path.Join(dir, p)
			}
			if name == "chdir" {
				dirs[process] = path.Clean(p)
			} else if path.IsAbs(p) && !strings.Contains(p, "\x00") {
				paths = append(paths, path.Clean(p))
			}
		}
		if errors.Is(err, io.EOF) {
			slices.Sort(paths)
			return slices.Compact(paths), nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// unhex returns the bytes of \x61\x62.
func unhex(s string) string {
	b, err := hex.DecodeString(strings.ReplaceAll(s, `\x`, ""))
	if err != nil {
		return "" // call matches no such thing
	}
	return string(b)
}
