// Package notice is how the kernel program tells whoever runs the guest what
// it has to say itself: that memory ran out, what killed the program, what
// does not work. Notices go over the channel, so that `kiln run` can keep them
// apart from the program's output; on a machine without one they go to the
// serial port.
//
// Context: ordinary goroutines.
package notice

import (
	"fmt"
	"os"
	"sync"

	"kiln/image/channel"
)

// Reporter takes the JSON of a report.
type Reporter interface{ Report(b []byte) error }

var (
	mu sync.Mutex
	to Reporter // guarded by mu; nil: the serial port
)

// To sends what follows to r.
func To(r Reporter) {
	mu.Lock()
	defer mu.Unlock()
	to = r
}

// Printf gives a notice: one line, without the name of the program before it.
func Printf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	mu.Lock()
	defer mu.Unlock()
	if to != nil && to.Report(channel.NoticeReport(text)) == nil {
		return
	}
	fmt.Fprintf(os.Stderr, "kiln: %s\n", text)
}
