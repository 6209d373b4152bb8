package main

import (
	"io"
	"net"
	"sync"
)

// An input takes what attached tools send to the guest that runs.
type input struct {
	mu sync.Mutex
	to *io.PipeWriter // of the guest that runs; nil before the first; guarded by mu
}

// next returns the input of the guest that is about to start. It is closed when
// that has ended.
func (in *input) next() *io.PipeReader {
	r, w := io.Pipe()
	in.mu.Lock()
	defer in.mu.Unlock()
	in.to = w
	return r
}

// serve passes on what comes from conn until it ends. What comes between two
// guests is lost.
func (in *input) serve(conn net.Conn) {
	b := make([]byte, 32<<10)
	for {
		n, err := conn.Read(b)
		in.mu.Lock()
		to := in.to
		in.mu.Unlock()
		if n > 0 && to != nil {
			_, _ = to.Write(b[:n]) // it fails when the guest has ended
		}
		if err != nil {
			return
		}
	}
}
