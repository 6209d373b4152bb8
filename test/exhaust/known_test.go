package exhaust_test

// known are the modes that fail, and why. The test says so if one holds.
var known = map[string]string{
	"tmpfs-all": "once all file systems in memory are full, a program that is started has no memory",
	"exec-args": "the machine ends",
	"exec-env":  "the machine ends",
	"root-deep": "the machine ends",
	"fifos":     "the machine ends",
	"in-flight": "the machine ends",
	"tcp-idle":  "the machine ends",
}
