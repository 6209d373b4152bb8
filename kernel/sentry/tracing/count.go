package tracing

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// A count is how often a call was made, and what came of it.
type count struct {
	name          string
	calls, errors int
	elapsed       time.Duration // in total, with the time that calls waited
}

func (n *count) add(c call) {
	n.calls++
	n.elapsed += c.elapsed
	if c.failed {
		n.errors++
	}
}

// table returns the counts as strace -c -w prints them, the longest first.
func table(counts map[string]*count) string {
	list := slices.SortedFunc(maps.Values(counts), func(a, b *count) int {
		return cmp.Or(cmp.Compare(b.elapsed, a.elapsed), cmp.Compare(b.calls, a.calls), cmp.Compare(a.name, b.name))
	})
	total := count{name: "total"}
	for _, n := range list {
		total.calls += n.calls
		total.errors += n.errors
		total.elapsed += n.elapsed
	}
	const line = "------ ----------- ----------- --------- --------- ----------------\n"
	var b strings.Builder
	b.WriteString("% time     seconds  usecs/call     calls    errors syscall\n" + line)
	row := func(n *count) {
		share := 0.0
		if total.elapsed > 0 {
			share = 100 * float64(n.elapsed) / float64(total.elapsed)
		}
		each, errors := int64(0), ""
		if n.calls > 0 {
			each = n.elapsed.Microseconds() / int64(n.calls)
		}
		if n.errors > 0 {
			errors = fmt.Sprint(n.errors)
		}
		fmt.Fprintf(&b, "%6.2f %11.6f %11d %9d %9s %s\n", share, n.elapsed.Seconds(), each, n.calls, errors, n.name)
	}
	for _, n := range list {
		row(n)
	}
	b.WriteString(line)
	row(&total)
	return b.String()
}
