package platform

import (
	"time"

	"kiln/kernel/machine"
)

// Where many processes map the same file, the Sentry copies the list of them when
// one more does, or one less: for some hundred, a megabyte of garbage for each that
// ends. A thousand that are killed at once would make it faster than it can be
// collected.

const (
	// exitPatience is how long a task waits for another's exit.
	exitPatience = 100 * time.Millisecond
	// exitsAhead is for how many exits there is to be room, before one begins.
	exitsAhead = 2
)

// crowd returns how many pages the Sentry takes for a moment to make or end a
// process where there are as many tasks as now.
func (r *Reserve) crowd() int { return int(r.tasks.Load()) / 2 }

// beginExit has the tasks of a crowd exit one after the other.
func (c *taskContext) beginExit() {
	pages := c.platform.reserve.crowd()
	if pages < heldPages {
		return
	}
	c.exits = c.platform.exitTurn()
	if machine.FreeFrames() < int64(exitsAhead*pages) {
		c.platform.hooks.Collect()
	}
}

// exitTurn waits for the place of who exits, but not for ever: whoever has it may
// wait for something, a connection's end, say. It reports whether it was had.
func (p *Platform) exitTurn() bool {
	select {
	case p.exit <- struct{}{}:
		return true
	default:
	}
	select {
	case p.exit <- struct{}{}:
		return true
	case <-time.After(exitPatience):
		return false
	}
}

// endExit lets the next one exit.
func (c *taskContext) endExit() {
	if c.exits {
		<-c.platform.exit
		c.exits = false
	}
}
