// Package tracing prints the programs' system calls as strace(1) does, or counts
// them. The Sentry's own tracer reads the arguments and writes a line to the
// Sentry's log for each call; an Emitter of that log picks these up here.
//
// Context: ordinary goroutines. Lock order: Tracer.mu is a leaf.
package tracing

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/pkg/sentry/strace"

	"kiln/image"
)

// shownBytes is how much of a buffer or string a line shows, as with strace.
const shownBytes = 32

// A Tracer takes the calls out of the Sentry's log.
type Tracer struct {
	next  log.Emitter // takes the rest of the log
	level log.Level   // as far as next wants it

	mu      sync.Mutex
	out     io.Writer         // guarded by mu
	entered map[string]call   // that have not returned, by thread; guarded by mu
	counts  map[string]*count // by call; nil: calls are printed instead; guarded by mu
}

// New returns a tracer that writes to out. mode is image.StraceCalls or
// image.StraceCount.
func New(mode string, out io.Writer, next log.Emitter, level log.Level) *Tracer {
	t := &Tracer{next: next, level: level, out: out, entered: map[string]call{}}
	if mode == image.StraceCount {
		t.counts = map[string]*count{}
	}
	return t
}

// Start has the Sentry trace all calls, of tasks that it starts from now on. The
// tables of calls are complete.
func Start() {
	strace.LogMaximumSize = shownBytes
	strace.Initialize()
	strace.EnableAll(strace.SinkTypeLog)
}

// Emit implements log.Emitter.
func (t *Tracer) Emit(depth int, level log.Level, at time.Time, format string, v ...any) {
	c, entry, ok := parse(format, v)
	switch {
	case entry:
		t.enter(c)
	case ok:
		t.take(c)
	case level <= t.level:
		t.next.Emit(depth+1, level, at, format, v...)
	}
}

// enter keeps a call's arguments until it returns.
func (t *Tracer) enter(c call) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.entered[c.tid] = c
}

// shownBefore stands in the Sentry's lines at the exit for what it has shown at
// the entry: what is written.
const shownBefore = "..."

// take prints or counts one call.
func (t *Tracer) take(c call) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.entered[c.tid]; e.name == c.name && len(e.args) == len(c.args) {
		for i := range c.args {
			if c.args[i] == shownBefore {
				c.args[i] = e.args[i]
			}
		}
	}
	delete(t.entered, c.tid)
	if t.counts != nil {
		n := t.counts[c.name]
		if n == nil {
			n = &count{name: c.name}
			t.counts[c.name] = n
		}
		n.add(c)
		return
	}
	// One write for a line, so that none is torn by another's. What cannot be
	// written is lost: the console is all there is to say it on.
	_, _ = io.WriteString(t.out, c.String()+"\n")
}

// Summary prints the counts, if calls are counted.
func (t *Tracer) Summary() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		return
	}
	_, _ = io.WriteString(t.out, table(t.counts))
}

// A call is a system call that returned.
type call struct {
	tid     string // of the thread
	name    string
	args    []string
	result  string // as strace has it
	failed  bool
	elapsed time.Duration
}

// String returns the line that strace -f -T prints.
func (c call) String() string {
	return fmt.Sprintf("[pid %5s] %s(%s) = %s <%.6f>", c.tid, c.name, strings.Join(c.args, ", "), c.result, c.elapsed.Seconds())
}
