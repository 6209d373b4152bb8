package main

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"
)

//go:embed skips.txt
var skipsText string

//go:embed exceptions.txt
var exceptionsText string

// parseSkips reads lines "PACKAGE TEST REASON…"; # begins a comment line. A
// test may be "Test", "Test/sub" or "Example_x". It returns test names by
// package.
func parseSkips(text string) (map[string][]string, error) {
	skips := map[string][]string{}
	for i, line := range strings.Split(text, "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0][0] == '#' {
			continue
		}
		if len(fields) < 4 {
			return nil, fmt.Errorf("line %d: want a package, a test and a reason, got %q", i+1, line)
		}
		skips[fields[0]] = append(skips[fields[0]], fields[1])
	}
	return skips, nil
}

// skipPattern turns test names into one -test.skip argument that matches
// exactly them.
func skipPattern(names []string) string {
	var alternatives []string
	for _, name := range names {
		var parts []string
		for part := range strings.SplitSeq(name, "/") {
			parts = append(parts, "^"+regexp.QuoteMeta(part)+"$")
		}
		alternatives = append(alternatives, strings.Join(parts, "/"))
	}
	return strings.Join(alternatives, "|")
}
