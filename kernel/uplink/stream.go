package uplink

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"kiln/image/channel"
)

// Output is a stream to the host.
type Output struct {
	link   *Link
	stream channel.Stream
	window *channel.Sender

	mu     sync.Mutex
	onRoom func() // guarded by mu; nil: nobody is to be told
	gone   bool   // whom it is for has gone; guarded by mu
}

func newOutput(l *Link, s channel.Stream) *Output {
	return &Output{link: l, stream: s, window: channel.NewSender()}
}

// ErrFull says that nothing can be sent at the moment.
var ErrFull = errors.New("uplink: no room")

// ErrLost is wrapped by errors that say that the host is out of reach for good.
var ErrLost = errors.New("uplink: the host is gone")

// OnRoom has f called whenever something may be sent again that could not. It
// must not block.
func (o *Output) OnRoom(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.onRoom = f
}

func (o *Output) notify() {
	o.mu.Lock()
	f := o.onRoom
	o.mu.Unlock()
	if f != nil {
		f()
	}
}

// err returns why nothing can be sent any more, nil if it can.
func (o *Output) err() error {
	o.mu.Lock()
	gone := o.gone
	o.mu.Unlock()
	if gone {
		return ErrLost
	}
	if err := o.link.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrLost, err)
	}
	return nil
}

// full returns ErrFull, or an error if there will never be room again.
func (o *Output) full() error {
	if err := o.err(); err != nil {
		return err
	}
	return ErrFull
}

// lose says that whom the stream is for has gone.
func (o *Output) lose() {
	o.mu.Lock()
	o.gone = true
	o.mu.Unlock()
}

// Room reports whether something can be sent. If not, OnRoom's function will be
// called when that changes.
func (o *Output) Room() bool {
	if o.err() != nil {
		return true
	}
	if !o.window.Room() {
		return false
	}
	b, err := o.link.port.Buffer()
	if b != nil {
		o.link.port.Cancel(b)
	}
	return b != nil || err != nil
}

// Send sends up to n bytes, which fill writes to memory that the host reads. It
// does not block, but for what fill does, and returns ErrFull if it cannot send
// any. What was sent is in the host's hands, even if the kernel crashes at
// once. An error of fill's comes back, with how much of the bytes was sent.
func (o *Output) Send(n int, fill func(b []byte) (int, error)) (sent int, err error) {
	n = o.window.Take(min(n, channel.MaxPayload))
	if n == 0 {
		return 0, o.full()
	}
	b, err := o.link.port.Buffer()
	if b == nil || err != nil {
		o.window.Back(n)
		if err == nil {
			return 0, o.full()
		}
		return 0, fmt.Errorf("%w: %w", ErrLost, err)
	}
	filled, fillErr := fill(b.Bytes[channel.HeaderSize:][:n])
	if filled < n { // rarely: somebody may have waited for this credit
		o.window.Back(n - filled)
		defer o.link.room()
	}
	if filled == 0 {
		o.link.port.Cancel(b)
		return 0, fillErr
	}
	channel.Header{Kind: channel.KindData, Stream: o.stream, Size: filled}.Put(b.Bytes)
	if err := o.link.port.Send(b, channel.HeaderSize+filled); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrLost, err)
	}
	return filled, fillErr
}

// Write sends all of p, and waits for room.
func (o *Output) Write(p []byte) (int, error) {
	written := 0
	for written < len(p) {
		room := o.link.waitRoom()
		n, err := o.Send(len(p)-written, func(b []byte) (int, error) { return copy(b, p[written:]), nil })
		written += n
		switch {
		case errors.Is(err, ErrFull):
			<-room
		case err != nil:
			return written, err
		}
	}
	return written, nil
}

// Input is a stream from the host.
type Input struct {
	link   *Link
	stream channel.Stream
	window channel.Receiver

	mu    sync.Mutex
	wake  sync.Cond // something has come; L is mu
	queue []byte    // not yet read, at most channel.Window; guarded by mu
	ended bool      // guarded by mu
}

func newInput(l *Link, s channel.Stream) *Input {
	i := &Input{link: l, stream: s}
	i.wake.L = &i.mu
	return i
}

// receive takes bytes that have come.
func (i *Input) receive(b []byte) error {
	if err := i.window.Receive(len(b)); err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.queue = append(i.queue, b...)
	i.wake.Signal()
	return nil
}

// end notes that no more comes.
func (i *Input) end() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ended = true
	i.wake.Signal()
}

// Read returns what the host has sent, and io.EOF behind its end. It blocks
// until there is something. One goroutine may read.
func (i *Input) Read(p []byte) (int, error) {
	i.mu.Lock()
	for len(i.queue) == 0 && !i.ended && len(p) > 0 {
		i.wake.Wait()
	}
	n := copy(p, i.queue)
	if i.queue = i.queue[n:]; len(i.queue) == 0 {
		i.queue = nil
	}
	ended := i.ended && n == 0
	i.mu.Unlock()
	if ended {
		return 0, io.EOF
	}
	if credit := i.window.Consume(n); credit > 0 {
		if err := i.link.send(channel.AppendCredit(nil, i.stream, credit)); err != nil {
			return n, err
		}
	}
	return n, nil
}

// Close ends the stream for its reader, who wants no more.
func (i *Input) Close() { i.end() }
