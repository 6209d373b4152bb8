// Package uplink is the guest's end of the channel to kiln run (package
// image/channel): on the port of a virtio console, if the machine has that.
//
// Context: ordinary goroutines. Locks: Link.mu is a leaf; an Input's and an
// Output's are, too.
package uplink

import (
	"bufio"
	"errors"
	"fmt"
	"sync"
	"time"

	"kiln/image/channel"
	"kiln/kernel/virtio"
	"kiln/kernel/virtio/console"
)

// port is what Link needs of a console.Device.
type port interface {
	Read(p []byte) (int, error)
	Buffer() (*console.Buffer, error)
	Send(b *console.Buffer, n int) error
	Cancel(b *console.Buffer)
	Flush(patience time.Duration) bool
}

// Patience with a host that does not take what it always should: reports. Who
// waits longer would be the whole kernel.
const (
	reportPatience = 5 * time.Second
	flushPatience  = 3 * time.Second
)

// requestsKept is how many requests wait for Requests to be read. More wait in
// the host.
const requestsKept = 64

// Link is the channel. Its own streams are the console's.
type Link struct {
	streams

	port     port
	requests chan channel.Request
	sessions chan *Session // those that have begun

	mu    sync.Mutex
	open  map[channel.Session]*Session // guarded by mu
	space chan struct{}                // closed and replaced when there may be room to send; guarded by mu
	ended error                        // why no more comes from the host; guarded by mu
}

// streams are those of a session or of the console.
type streams struct {
	Stdout, Stderr *Output
	Stdin          *Input
}

func newStreams(l *Link, s channel.Session) streams {
	return streams{
		newOutput(l, s.Stream(channel.Stdout)), newOutput(l, s.Stream(channel.Stderr)),
		newInput(l, s.Stream(channel.Stdin)),
	}
}

// Open opens the channel on one of the machine's devices. It returns nil if
// none has it.
func Open(devices []virtio.Found) (*Link, error) {
	var errs []error
	for _, f := range devices {
		if f.ID != virtio.DeviceConsole {
			continue
		}
		l := newLink()
		t, err := f.Open()
		if err == nil {
			l.port, err = console.Open(t, virtio.DMA{}, channel.PortName, l.room)
		}
		if err == nil {
			go l.serve()
			return l, nil
		}
		if !errors.Is(err, console.ErrNoPort) { // else somebody else's console
			errs = append(errs, fmt.Errorf("%s: %w", f.Where, err))
		}
	}
	return nil, errors.Join(errs...)
}

func newLink() *Link {
	l := &Link{
		requests: make(chan channel.Request, requestsKept), space: make(chan struct{}),
		sessions: make(chan *Session, channel.MaxSessions), open: map[channel.Session]*Session{},
	}
	l.streams = newStreams(l, channel.Console)
	return l
}

// Requests are what the host asks for. The channel is closed when the host asks
// no more.
func (l *Link) Requests() <-chan channel.Request { return l.requests }

// Err returns why no more comes from the host, nil if more may.
func (l *Link) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended
}

// serve takes what the host sends.
func (l *Link) serve() {
	err := channel.Serve(bufio.NewReaderSize(l.port, channel.MaxFrame), handler{l})
	if err == nil {
		err = errors.New("the host has closed the channel")
	}
	l.mu.Lock()
	l.ended = err
	l.mu.Unlock()
	close(l.requests)
	close(l.sessions)
	l.Stdin.end()
	l.room()
	for _, s := range l.listSessions() {
		s.hangUp()
	}
}

// room wakes all who wait to send.
func (l *Link) room() {
	l.mu.Lock()
	close(l.space)
	l.space = make(chan struct{})
	l.mu.Unlock()
	l.Stdout.notify()
	l.Stderr.notify()
}

// waitRoom returns what is closed when there may be room to send.
func (l *Link) waitRoom() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.space
}

// Report sends the JSON of a report.
func (l *Link) Report(b []byte) error { return l.report(channel.Console, b) }

// report sends the JSON of a report of a session's.
func (l *Link) report(s channel.Session, b []byte) error {
	return l.send(channel.AppendFrame(nil, channel.KindMessage, s.Stream(channel.Messages), b))
}

// Exit reports the program's exit status, the last report, and waits until the
// host has all that was sent.
func (l *Link) Exit(status int) error {
	if err := l.Report(channel.ExitReport(status)); err != nil {
		return err
	}
	if !l.port.Flush(flushPatience) {
		return errors.New("the host does not take the last output")
	}
	return nil
}

// send sends one frame. It waits for a buffer, but not for ever.
func (l *Link) send(frame []byte) error {
	late := time.NewTimer(reportPatience)
	defer late.Stop()
	for {
		room := l.waitRoom()
		b, err := l.port.Buffer()
		if err != nil {
			return err
		}
		if b != nil {
			return l.port.Send(b, copy(b.Bytes, frame))
		}
		select {
		case <-room:
		case <-late.C:
			return errors.New("the host does not take what the guest sends")
		}
	}
}
