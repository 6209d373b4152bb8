package exhaust_test

// known are the modes that fail, and why. The test says so if one holds.
var known = map[string]string{
	"fork-bomb":     "among many small processes a bystander is killed at times",
	"namespaces":    "the kernel's memory for them is not counted, so a bystander is killed at times",
	"exec-args":     "what execve copies into the kernel's heap at times ends the machine",
	"tmpfs-all":     "once all file systems in memory are full, a program that is started may be killed",
	"sysv-messages": "fork may fail for some seconds after",
	"timers-fired":  "the machine ended once, not yet understood",
	"zombies":       "at times the machine ends: the kernel's heap takes the last frame",
	"root-deep":     "after a deep path in the root's layer, the machine does not answer for minutes",
}
