package main

import (
	"fmt"
	"strconv"
	"strings"

	"kiln/instance"
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

// cookieScheme begins a cookie; the number of the supervisor's process follows.
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
	i, err := a.guestOf(args[0])
	if err == nil {
		err = stopInstance(i, nil)
	}
	return 0, err
}

// guestOf returns the instance that a cookie names.
func (a *app) guestOf(cookie string) (*instance.Instance, error) {
	text, ok := strings.CutPrefix(cookie, cookieScheme)
	pid, err := strconv.ParseInt(text, 10, 32)
	if !ok || err != nil || pid <= 1 {
		return nil, usageError{fmt.Sprintf("%q is no cookie of rumprun's", cookie), "one looks like " + cookieScheme + "1234"}
	}
	store, err := instance.Open(a.getenv)
	if err != nil {
		return nil, err
	}
	i, err := store.FindProcess(int(pid))
	if err != nil {
		return nil, err
	}
	// Numbers of processes are used again, so a cookie may outlive its guest.
	if i == nil || i.Command != rumprunName || i.State.PID != int(pid) {
		return nil, usageError{fmt.Sprintf("%s: no such guest; it may have ended", cookie), ""}
	}
	return i, nil
}
