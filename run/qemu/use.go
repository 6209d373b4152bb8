package qemu

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Use is what a machine has used of the host since it began.
type Use struct {
	CPU           time.Duration // of all processors
	Read, Written uint64        // bytes from and to the host's disks
}

// ticks is how many there are in a second in /proc/PID/stat: USER_HZ, which Linux
// has at 100 on x86-64.
const ticks = 100

// UseOf returns what the machine has used that process pid started, a kiln run.
func UseOf(pid int) (Use, error) {
	child, err := childOf(pid)
	if err != nil {
		return Use{}, err
	}
	var u Use
	if u.CPU, err = cpuOf(child); err != nil {
		return u, err
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", child))
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		n, _ := strconv.ParseUint(value, 10, 64)
		switch name {
		case "read_bytes":
			u.Read = n
		case "write_bytes":
			u.Written = n
		}
	}
	return u, nil
}

// childOf returns QEMU's process.
func childOf(pid int) (int, error) {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return 0, err
	}
	for _, t := range tasks {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, t.Name()))
		if err != nil {
			continue // the thread has ended
		}
		for _, text := range strings.Fields(string(b)) {
			name, err := os.ReadFile("/proc/" + text + "/comm")
			if err == nil && strings.HasPrefix(Binary, strings.TrimSpace(string(name))) {
				return strconv.Atoi(text)
			}
		}
	}
	return 0, fmt.Errorf("process %d has no %s", pid, Binary)
}

// cpuOf returns how much time of the processors a process took: proc_pid_stat(5),
// utime and stime.
func cpuOf(pid int) (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name, in parentheses, may have anything in it.
	_, rest, _ := strings.Cut(string(b[strings.LastIndexByte(string(b), ')')+1:]), " ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(f))
	}
	user, err1 := strconv.ParseInt(f[11], 10, 64)
	system, err2 := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * time.Second / ticks, errors.Join(err1, err2)
}
