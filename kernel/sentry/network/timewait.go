package network

import (
	"container/list"
	"sync"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// A connection whose end came first stays for a minute, so that late segments
// of it are not taken for those of a new one (TIME-WAIT, RFC 9293 §3.6.1). So
// does one that the program closed and whose peer has confirmed that but not
// closed its own side (FIN-WAIT-2). Netstack keeps all of these, at some 10 KB
// each; Linux keeps tcp_max_tw_buckets, and so does Kiln: beyond that many, the
// oldest are forgotten, without a word to the peer.
//
// Netstack has no count of them and no way to end one without a reset. But each
// has a timer from the stack's clock that runs for a time that netstack asks
// its user for. closingClock knows the timers by these durations; to forget a
// connection is to let its timer expire.
const (
	// The odd nanoseconds tell these timers from all others.
	timeWaitTimeout = 60*time.Second + 1            // TCP_TIMEWAIT_LEN of Linux
	finWait2Timeout = 60*time.Second + finWait2Mark // net.ipv4.tcp_fin_timeout at first
	finWait2Mark    = 2
)

// finWait2After returns the duration of whole seconds d with the mark.
func finWait2After(d time.Duration) time.Duration { return d + finWait2Mark }

// isFinWait2 reports whether a duration has the mark.
func isFinWait2(d time.Duration) bool { return d%time.Second == finWait2Mark }

// closingClock is a stack's clock. It hands the timers of connections in
// TIME-WAIT and FIN-WAIT-2 to closing.
type closingClock struct {
	tcpip.Clock
	closing *closing
}

// AfterFunc implements tcpip.Clock.
func (c closingClock) AfterFunc(d time.Duration, f func()) tcpip.Timer {
	t := c.Clock.AfterFunc(d, f)
	if d == timeWaitTimeout || isFinWait2(d) {
		return c.closing.add(t)
	}
	return t
}

// closing are the connections of a stack in TIME-WAIT and, closed by the
// program, in FIN-WAIT-2.
//
// Context: netstack calls add, Stop and Reset with the endpoint's lock held.
// No endpoint is locked under mu: timers run their functions in goroutines of
// their own.
type closing struct {
	mu     sync.Mutex
	timers list.List // of *closingTimer, oldest first; guarded by mu
	limit  int       // of len(timers); guarded by mu
}

// setTimeouts has TCP use the durations that closingClock knows.
func (s *Stack) setTimeouts() tcpip.Error {
	wait, linger := tcpip.TCPTimeWaitTimeoutOption(timeWaitTimeout), tcpip.TCPLingerTimeoutOption(finWait2Timeout)
	if err := s.ip.SetTransportProtocolOption(tcp.ProtocolNumber, &wait); err != nil {
		return err
	}
	return s.ip.SetTransportProtocolOption(tcp.ProtocolNumber, &linger)
}

// add adds a connection by its timer, and forgets the oldest if it is one too
// many.
func (c *closing) add(t tcpip.Timer) tcpip.Timer {
	ct := &closingTimer{Timer: t, closing: c}
	c.mu.Lock()
	defer c.mu.Unlock()
	ct.place = c.timers.PushBack(ct)
	c.forget(c.timers.Len() - c.limit)
	return ct
}

// most returns how many connections there may be.
func (c *closing) most() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.limit
}

// setMost sets it, and forgets those that are too many.
func (c *closing) setMost(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limit = n
	c.forget(c.timers.Len() - n)
}

// count returns how many connections there are.
func (c *closing) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.timers.Len()
}

// ForgetClosed ends what is left of closed connections, without a word to the
// peers, and returns how many there were. Their memory is garbage soon after.
func (s *Stack) ForgetClosed() int { return s.closing.forgetAll() }

// forgetAll forgets all connections and returns how many there were.
func (c *closing) forgetAll() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.timers.Len()
	c.forget(n)
	return n
}

// forget forgets the oldest n. The caller holds mu.
func (c *closing) forget(n int) {
	for ; n > 0; n-- {
		t := c.timers.Remove(c.timers.Front()).(*closingTimer)
		t.place = nil
		t.Timer.Reset(0)
	}
}

// closingTimer is the timer of a connection in closing.
type closingTimer struct {
	tcpip.Timer
	closing *closing
	place   *list.Element // in closing.timers, nil if not there; guarded by closing.mu
}

// Stop implements tcpip.Timer: the connection has ended or left the state.
func (t *closingTimer) Stop() bool {
	t.closing.mu.Lock()
	defer t.closing.mu.Unlock()
	if t.place != nil {
		t.closing.timers.Remove(t.place)
		t.place = nil
	}
	return t.Timer.Stop()
}

// Reset implements tcpip.Timer: the connection stays for d from now on, unless
// it is being forgotten.
func (t *closingTimer) Reset(d time.Duration) {
	t.closing.mu.Lock()
	defer t.closing.mu.Unlock()
	if t.place != nil {
		t.closing.timers.MoveToBack(t.place)
		t.Timer.Reset(d)
	}
}
