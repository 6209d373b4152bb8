package main

import (
	"os"
	"strings"
	"testing"
)

// TestOperations parses the commands that docs/operations.md shows.
func TestOperations(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	a := &app{all: commands()}
	seen := 0
	for line := range strings.Lines(string(page)) {
		line, ok := strings.CutPrefix(strings.TrimSpace(line), "$ kiln ")
		if !ok {
			continue
		}
		seen++
		words := strings.Fields(line)
		c, ok := a.find(words[0])
		if !ok {
			t.Errorf("kiln %s: there is no such command", line)
			continue
		}
		fs, _ := c.flagSet()
		if err := fs.Parse(words[1:]); err != nil {
			t.Errorf("kiln %s: %v", line, err)
		}
	}
	if seen < 10 {
		t.Errorf("docs/operations.md shows %d commands, want at least 10", seen)
	}
}
