package sentry

import (
	"slices"
	"testing"

	"gvisor.dev/gvisor/pkg/sentry/kernel"
)

// TestProcesses: a request to end lets no more start, and finds what runs.
func TestProcesses(t *testing.T) {
	a, b, c := new(kernel.ThreadGroup), new(kernel.ThreadGroup), new(kernel.ThreadGroup)
	var p processes
	if !p.add(a) || !p.add(b) {
		t.Fatal("add = false before an end")
	}
	if got := p.list(); !slices.Equal(got, []*kernel.ThreadGroup{a, b}) {
		t.Errorf("list = %v, want both", got)
	}
	p.remove(a)
	p.remove(a) // a signal and the end may meet
	if got := p.list(); !slices.Equal(got, []*kernel.ThreadGroup{b}) {
		t.Errorf("list = %v, want the second", got)
	}
	p.end()
	if p.add(c) {
		t.Error("add = true after an end")
	}
	if got := p.list(); !slices.Equal(got, []*kernel.ThreadGroup{b}) {
		t.Errorf("list = %v, want the second still", got)
	}
}
