package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"kiln/run"
)

var rumpstopCommand = command{
	name:  "rumpstop",
	usage: "COOKIE",
	short: "end a guest that rumprun started in the background",
	long: `
Asks the program of the guest with this COOKIE, which rumprun printed, to end,
and waits until the guest is gone.`,
	raw: (*app).rumpstop,
}

// guestName is argv[0] of the process that looks after a guest in the
// background.
const guestName = "rumprun-guest"

// cookieScheme begins a cookie; the number of the guest's process follows.
const cookieScheme = "qemu:"

// rumpstop is the command rumpstop.
func (a *app) rumpstop(args []string) (int, error) {
	a.name = "rumpstop"
	if len(args) > 0 && (args[0] == "-h" || args[0] == "--help") {
		return a.help([]string{"rumpstop"})
	}
	if len(args) > 0 && args[0] == "-S" { // sudo, which nothing here needs
		args = args[1:]
	}
	if len(args) != 1 {
		return 0, usageError{fmt.Sprintf("%d cookies are named, want 1", len(args)), "rumpstop COOKIE, as rumprun printed it"}
	}
	pid, err := parseCookie(args[0])
	if err != nil {
		return 0, err
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return exitFailure, fmt.Errorf("%s: %w", args[0], err)
	}
	// The guest's process kills it after the first of these.
	for end := time.Now().Add(run.DefaultStopTimeout + 10*time.Second); time.Now().Before(end); {
		if !isGuest(pid) {
			return 0, nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return exitFailure, fmt.Errorf("%s: the guest does not end", args[0])
}

// parseCookie returns the process that a cookie names.
func parseCookie(cookie string) (int, error) {
	text, ok := strings.CutPrefix(cookie, cookieScheme)
	pid, err := strconv.ParseInt(text, 10, 32)
	if !ok || err != nil || pid <= 1 {
		return 0, usageError{fmt.Sprintf("%q is no cookie of rumprun's", cookie), "one looks like " + cookieScheme + "1234"}
	}
	if !isGuest(int(pid)) {
		return 0, usageError{fmt.Sprintf("%s: no such guest; it may have ended", cookie), ""}
	}
	return int(pid), nil
}

// isGuest reports whether process pid looks after a guest. Numbers of
// processes are used again, so a cookie may outlive its guest.
func isGuest(pid int) bool {
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if errors.Is(err, os.ErrNotExist) || err != nil {
		return false
	}
	name, _, _ := bytes.Cut(cmdline, []byte{0})
	return string(name) == guestName
}
