package main

import (
	"fmt"
	"sync"
	"time"
)

// quiet is how long work may take before it is worth a line.
const quiet = time.Second

// progress tells the user what takes so long, once it does.
type progress struct {
	a     *app
	timer *time.Timer

	mu     sync.Mutex
	latest string // not yet shown; guarded by mu
	slow   bool   // guarded by mu
}

func newProgress(a *app) *progress {
	p := &progress{a: a}
	p.timer = time.AfterFunc(quiet, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.slow = true
		p.print()
	})
	return p
}

// show says what is being done now.
func (p *progress) show(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.latest = what
	if p.slow {
		p.print()
	}
}

// print shows the latest line. p.mu is held.
func (p *progress) print() {
	if p.latest != "" {
		fmt.Fprintf(p.a.stderr, "%s: %s …\n", p.a.name, p.latest)
		p.latest = ""
	}
}

// stop ends the showing.
func (p *progress) stop() {
	p.timer.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slow, p.latest = false, ""
}
