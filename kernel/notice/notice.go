// Package notice is how the kernel program tells whoever runs the guest what
// it has to say itself: that memory ran out, what killed the program, what
// does not work. Notices go over the control channel, so that `kiln run` can
// keep them apart from the program's output; on a machine without one they go
// to the console.
//
// Context: ordinary goroutines.
package notice

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
)

var (
	mu      sync.Mutex
	channel io.Writer // guarded by mu; nil: the console
)

// To sends what follows to the control channel w. Each notice is one write.
func To(w io.Writer) {
	mu.Lock()
	defer mu.Unlock()
	channel = w
}

// Ready says that the guest takes input and requests: what `kiln run` sends
// earlier, the serial ports could lose, so it waits for this. Where there is
// no control channel, nobody does.
func Ready() {
	mu.Lock()
	defer mu.Unlock()
	if channel == nil {
		return
	}
	if _, err := io.WriteString(channel, "{\"ready\":true}\n"); err != nil {
		fmt.Fprintf(os.Stderr, "kiln: control channel: %v\n", err)
	}
}

// Printf gives a notice: one line, without the name of the program before it.
func Printf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	mu.Lock()
	defer mu.Unlock()
	if channel != nil {
		line, err := json.Marshal(map[string]string{"notice": text})
		if err == nil {
			_, err = channel.Write(append(line, '\n'))
		}
		if err == nil {
			return
		}
	}
	fmt.Fprintf(os.Stderr, "kiln: %s\n", text)
}
