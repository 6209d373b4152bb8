package main

import (
	_ "embed"
	"regexp"
	"strings"
)

//go:embed skips.txt
var skipsText string

//go:embed exceptions.txt
var exceptionsText string

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
