// Command tally reads the output of go test -json, shows each package's
// result and what failing tests printed, and ends with the sum of all tests:
//
//	N passed, N failed, N skipped
//
// A test that only holds subtests does not count beside them; a package that
// fails without a failed test (it does not compile, or it crashes) counts as
// one failure. The status is 1 if anything failed or nothing ran.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// An event is one line of go test -json (go doc test2json).
type event struct {
	Action     string
	Package    string
	ImportPath string // of build output
	Test       string
	Output     string
	Elapsed    float64 // seconds
}

// A testID names one test.
type testID struct{ pkg, name string }

// A tally is the state while events come in.
type tally struct {
	w       io.Writer
	results map[testID]string           // pass, fail or skip
	parents map[testID]bool             // tests that have subtests
	output  map[testID]*strings.Builder // of tests, and of packages with name ""
	failed  map[string]bool             // packages with a failed test
	broken  int                         // packages that failed without one
}

func newTally(w io.Writer) *tally {
	return &tally{
		w:       w,
		results: map[testID]string{},
		parents: map[testID]bool{},
		output:  map[testID]*strings.Builder{},
		failed:  map[string]bool{},
	}
}

func main() {
	t := newTally(os.Stdout)
	if err := t.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "tally: error:", err)
		os.Exit(1)
	}
	if !t.sum() {
		os.Exit(1)
	}
}

// read takes in events; lines that are none (errors of the go command) are
// shown as they are.
func (t *tally) read(r io.Reader) error {
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if json.Unmarshal(line, &e) != nil {
				fmt.Fprintf(t.w, "%s\n", strings.TrimRight(string(line), "\n"))
			} else {
				t.event(e)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (t *tally) event(e event) {
	id := testID{e.Package, e.Test}
	switch e.Action {
	case "run":
		if i := strings.LastIndexByte(e.Test, '/'); i >= 0 {
			t.parents[testID{e.Package, e.Test[:i]}] = true
		}
	case "output":
		t.print(id, e.Output)
	case "build-output":
		fmt.Fprint(t.w, e.Output)
	case "pass", "fail", "skip":
		if e.Test == "" {
			t.endPackage(e)
			return
		}
		t.results[id] = e.Action
		if e.Action == "fail" {
			t.failed[e.Package] = true
			t.show(id)
		}
		delete(t.output, id)
	}
}

// print keeps output until it is known whether it matters.
func (t *tally) print(id testID, text string) {
	if t.output[id] == nil {
		t.output[id] = new(strings.Builder)
	}
	t.output[id].WriteString(text)
}

func (t *tally) show(id testID) {
	if t.output[id] != nil {
		fmt.Fprint(t.w, t.output[id].String())
	}
}

func (t *tally) endPackage(e event) {
	if e.Action == "fail" && !t.failed[e.Package] {
		t.broken++
		t.show(testID{e.Package, ""})
	}
	// A package without tests "skips", which is no skipped test.
	fmt.Fprintf(t.w, "%-4s %s (%.1fs)\n", e.Action, e.Package, e.Elapsed)
}

// sum prints the last line and reports whether all is well.
func (t *tally) sum() bool {
	counts := map[string]int{"fail": t.broken}
	for id, result := range t.results {
		if !t.parents[id] {
			counts[result]++
		}
	}
	fmt.Fprintf(t.w, "%d passed, %d failed, %d skipped\n", counts["pass"], counts["fail"], counts["skip"])
	return counts["fail"] == 0 && counts["pass"] > 0
}
