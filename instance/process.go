package instance

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// Process names a process beyond its end: numbers are used again, with another
// time of start.
type Process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // in clock ticks since boot (proc_pid_stat(5))
}

// NewProcess returns the name of the process that has number pid now.
func NewProcess(pid int) Process {
	start, err := startTime(pid)
	if err != nil {
		return Process{}
	}
	return Process{pid, start}
}

// startTime returns when process pid started. One that is dead and was not
// waited for is none.
func startTime(pid int) (uint64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The command's name, in parentheses, may hold spaces and parentheses.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const state, start = 0, 19 // fields 3 and 22
	if len(fields) <= start {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	if fields[state][0] == 'Z' || fields[state][0] == 'X' {
		return 0, os.ErrProcessDone
	}
	return strconv.ParseUint(string(fields[start]), 10, 64)
}

// isAlive reports whether there is a process pid.
func isAlive(pid int) bool {
	_, err := startTime(pid)
	return err == nil
}

// Alive reports whether the process still runs.
func (p Process) Alive() bool {
	if p.PID == 0 {
		return false
	}
	start, err := startTime(p.PID)
	return err == nil && start == p.Start
}

// end kills the process, and waits until it is gone, which takes as long as its
// memory takes to be given back.
func (p Process) end() error {
	for deadline := time.Now().Add(10 * time.Second); p.Alive(); time.Sleep(5 * time.Millisecond) {
		if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("ending process %d: %w", p.PID, err)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("process %d does not end", p.PID)
		}
	}
	return nil
}
