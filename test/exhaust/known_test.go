package exhaust_test

// known are the modes that fail, and why. The test says so if one holds.
var known = map[string]string{
	"tmpfs-all": "once all file systems in memory are full, a program that is started has no memory",
	"exec-args": "execve takes what it copies from the kernel's heap, unbounded: the machine ends",
	"exec-env":  "execve takes what it copies from the kernel's heap, unbounded: the machine ends",
	"fork-bomb": "the kernel's heap takes the last frame: at times the machine ends",
	"zombies":   "a copy after fork takes frames that nobody promised: at times the machine ends",
	"root-deep": "after a deep path in the root's layer, the machine does not answer for minutes",
}
