package exhaust_test

// known are the modes that fail, and why. The test says so if one holds.
var known = map[string]string{}
