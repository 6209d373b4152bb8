package exhaust_test

// known are the modes that fail, and why. The test says so if one holds.
var known = map[string]string{
	"fork-bomb":  "among many small processes a bystander is killed at times",
	"namespaces": "the kernel's memory for them is not counted, so a bystander is killed at times",
	"zombies":    "a copy after fork once took frames that nobody had promised; not seen since",
	"root-deep":  "after a deep path in the root's layer, the machine does not answer for minutes",
}
