package outcomes

import (
	"fmt"
	"strings"
)

// ParseExceptions reads the lines of a list of tests to leave out on both sides,
// "PACKAGE TEST REASON…"; # begins a comment line. It returns the tests' names by
// package.
func ParseExceptions(text string) (map[string][]string, error) {
	exceptions := map[string][]string{}
	for i, line := range strings.Split(text, "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0][0] == '#' {
			continue
		}
		if len(fields) < 4 {
			return nil, fmt.Errorf("line %d: want a package, a test and a reason, got %q", i+1, line)
		}
		exceptions[fields[0]] = append(exceptions[fields[0]], fields[1])
	}
	return exceptions, nil
}
