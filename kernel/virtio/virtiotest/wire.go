package virtiotest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"kiln/kernel/virtio"
)

// virtio-net facts that the model needs, virtio 1.2 §5.1. They are written out
// here again so that a mistake in the driver does not cancel itself out.
const (
	netHeader     = 12
	netEther      = 14
	netNeedsCsum  = 1
	netGSOTCPv4   = 1
	netGSOTCPv6   = 4
	netCsum       = virtio.Features(1 << 0)
	netGuestCsum  = virtio.Features(1 << 1)
	netGuestTSO4  = virtio.Features(1 << 7)
	netGuestTSO6  = virtio.Features(1 << 8)
	netHostTSO4   = virtio.Features(1 << 11)
	netHostTSO6   = virtio.Features(1 << 12)
	netMergeable  = virtio.Features(1 << 15)
	netEtherIPv4  = 0x0800
	netEtherIPv6  = 0x86dd
	netRx, netTx  = 0, 1
	netQueueLimit = 256
)

// Port is a virtio-net device model at one end of a wire.
type Port struct {
	*Transport
	peer *Port
	wake chan struct{} // something was notified
	stop chan struct{}
	wg   sync.WaitGroup

	rxMu   sync.Mutex // guards the receive ring
	rxWake chan struct{}

	// Tap, if set, sees each frame that the driver sends, with its header.
	Tap func(header, frame []byte)
	// Drop, if set, says which frames get lost.
	Drop func(frame []byte) bool

	mu  sync.Mutex
	err error // guarded by mu: the first broken rule
}

// NewPort returns a network device model with an address.
func NewPort(features virtio.Features, mac [6]byte, mtu int) *Port {
	config := make([]byte, 12)
	copy(config, mac[:])
	config[6] = 1
	binary.LittleEndian.PutUint16(config[10:], uint16(mtu))
	p := &Port{wake: make(chan struct{}, 1), rxWake: make(chan struct{}, 1), stop: make(chan struct{})}
	p.Transport = &Transport{
		ID: virtio.DeviceNet, Offered: features | virtio.FeatureVersion1,
		QueueLen: []int{netQueueLimit, netQueueLimit}, Config: config,
		Mem: new(Memory), IRQ: NewInterrupt(),
	}
	p.OnNotify = func(queue int) {
		c := p.wake
		if queue == netRx {
			c = p.rxWake
		}
		select {
		case c <- struct{}{}:
		default:
		}
	}
	return p
}

// Connect joins two ports by a wire. Stop ends it.
func Connect(a, b *Port) {
	a.peer, b.peer = b, a
	for _, p := range []*Port{a, b} {
		p.wg.Add(1)
		go p.run()
	}
}

// Stop ends a wire and returns the first rule that either driver broke.
func Stop(a, b *Port) error {
	for _, p := range []*Port{a, b} {
		close(p.stop)
	}
	a.wg.Wait()
	b.wg.Wait()
	return errors.Join(a.Err(), b.Err())
}

// Err returns the first rule that the driver broke.
func (p *Port) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

func (p *Port) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = fmt.Errorf("port %x: %w", p.Config[:6], err)
	}
}

// run sends what the driver transmits.
func (p *Port) run() {
	defer p.wg.Done()
	for {
		select {
		case <-p.wake:
		case <-p.stop:
			return
		}
		ring := p.Ring(netTx)
		for ring != nil {
			b, err := ring.Pop()
			if err != nil {
				p.fail(err)
				return
			}
			if b == nil {
				break
			}
			var frame []byte
			for _, r := range b.Read {
				frame = append(frame, r...)
			}
			ring.Push(b, 0)
			if ring.WantsInterrupt() {
				p.IRQ.Fire()
			}
			if err := p.transmit(frame); err != nil {
				p.fail(err)
				return
			}
		}
	}
}

// transmit takes a frame with its header from the driver to the peer.
func (p *Port) transmit(b []byte) error {
	if len(b) < netHeader+netEther {
		return fmt.Errorf("frame of %d bytes", len(b))
	}
	h, frame := b[:netHeader], b[netHeader:]
	if p.Tap != nil {
		p.Tap(h, frame)
	}
	if p.Drop != nil && p.Drop(frame) {
		return nil
	}
	if err := p.check(h, frame); err != nil {
		return err
	}
	peer, gso := p.peer.Accepted(), h[1]
	need := map[byte]virtio.Features{netGSOTCPv4: netGuestTSO4, netGSOTCPv6: netGuestTSO6}[gso]
	if gso != 0 && peer&need == 0 {
		return p.segment(h, frame)
	}
	if h[0]&netNeedsCsum != 0 && peer&netGuestCsum == 0 {
		fillChecksum(h, frame)
		h = make([]byte, netHeader)
	}
	return p.peer.receive(h, frame)
}

// check checks that the driver uses only what it has accepted.
func (p *Port) check(h, frame []byte) error {
	accepted := p.Accepted()
	if h[0]&^netNeedsCsum != 0 {
		return fmt.Errorf("flags %#x", h[0])
	}
	if h[0]&netNeedsCsum != 0 {
		start, off := int(binary.LittleEndian.Uint16(h[6:])), int(binary.LittleEndian.Uint16(h[8:]))
		if accepted&netCsum == 0 || start+off+2 > len(frame) {
			return fmt.Errorf("checksum at %d+%d of %d bytes with %v", start, off, len(frame), accepted)
		}
	}
	size := binary.LittleEndian.Uint16(h[4:])
	switch gso := h[1]; {
	case gso == 0:
		if len(frame) > netEther+int(binary.LittleEndian.Uint16(p.Config[10:])) {
			return fmt.Errorf("frame of %d bytes without segmentation", len(frame))
		}
	case gso == netGSOTCPv4 && accepted&netHostTSO4 != 0, gso == netGSOTCPv6 && accepted&netHostTSO6 != 0:
		if size == 0 || h[0]&netNeedsCsum == 0 {
			return fmt.Errorf("segmentation into %d bytes with flags %#x", size, h[0])
		}
	default:
		return fmt.Errorf("segmentation type %d with %v", gso, accepted)
	}
	return nil
}

// segment cuts a large TCP segment into frames, each with all checksums.
func (p *Port) segment(h, frame []byte) error {
	tcp := int(binary.LittleEndian.Uint16(h[6:]))
	data := tcp + int(frame[tcp+12]>>4)*4
	size := int(binary.LittleEndian.Uint16(h[4:]))
	seq := binary.BigEndian.Uint32(frame[tcp+4:])
	id := binary.BigEndian.Uint16(frame[netEther+4:])
	for off, n := data, 0; off < len(frame); off, n = off+size, n+1 {
		end := min(off+size, len(frame))
		s := append(append([]byte(nil), frame[:data]...), frame[off:end]...)
		binary.BigEndian.PutUint32(s[tcp+4:], seq+uint32(off-data))
		if end < len(frame) {
			s[tcp+13] &^= 0x09 // FIN, PSH belong to the last
		}
		ip := s[netEther:]
		if h[1] == netGSOTCPv4 {
			binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
			binary.BigEndian.PutUint16(ip[4:], id+uint16(n))
			binary.BigEndian.PutUint16(ip[10:], 0)
			binary.BigEndian.PutUint16(ip[10:], ^sum(ip[:tcp-netEther], 0))
		} else {
			binary.BigEndian.PutUint16(ip[4:], uint16(len(s)-netEther-40))
		}
		binary.BigEndian.PutUint16(s[tcp+16:], pseudo(s, 6, len(s)-tcp))
		fillChecksum(h, s)
		if err := p.peer.receive(make([]byte, netHeader), s); err != nil {
			return err
		}
	}
	return nil
}

// pseudo returns the pseudo header's sum for an IP packet in a frame.
func pseudo(frame []byte, proto, n int) uint16 {
	tail := uint32(proto) + uint32(n)
	if binary.BigEndian.Uint16(frame[12:]) == netEtherIPv4 {
		return sum(frame[netEther+12:netEther+20], tail)
	}
	return sum(frame[netEther+8:netEther+40], tail)
}

// fillChecksum completes a checksum as the header asks.
func fillChecksum(h, frame []byte) {
	start, off := int(binary.LittleEndian.Uint16(h[6:])), int(binary.LittleEndian.Uint16(h[8:]))
	c := ^sum(frame[start:], 0)
	if c == 0 && off == 6 {
		c = 0xffff // UDP: 0 means none
	}
	binary.BigEndian.PutUint16(frame[start+off:], c)
}

// sum is the Internet checksum's one's complement sum (RFC 1071).
func sum(b []byte, s uint32) uint16 {
	for ; len(b) >= 2; b = b[2:] {
		s += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

// receive puts a frame into the driver's buffers, waiting for them.
func (p *Port) receive(h, frame []byte) error {
	p.rxMu.Lock()
	defer p.rxMu.Unlock()
	ring := p.Ring(netRx)
	if ring == nil || p.Status()&4 == 0 {
		return nil // nobody there: lost
	}
	msg := append(append([]byte(nil), h...), frame...)
	binary.LittleEndian.PutUint16(msg[10:], 1)
	var bufs []*Buffer
	var used []Used
	for rest := msg; len(rest) > 0; {
		b, err := p.buffer(ring)
		if b == nil {
			return err
		}
		if len(b.Read) != 0 || len(b.Write) != 1 {
			return fmt.Errorf("receive buffer of %d, %d segments", len(b.Read), len(b.Write))
		}
		n := min(len(b.Write[0]), len(rest))
		rest = rest[n:]
		if len(rest) > 0 && p.Accepted()&netMergeable == 0 {
			return fmt.Errorf("frame of %d bytes does not fit a buffer of %d", len(msg), n)
		}
		bufs = append(bufs, b)
		used = append(used, Used{uint32(b.Head), uint32(n)})
	}
	binary.LittleEndian.PutUint16(msg[10:], uint16(len(bufs)))
	for _, b := range bufs {
		msg = msg[copy(b.Write[0], msg):]
	}
	ring.PushAll(used)
	if ring.WantsInterrupt() {
		p.IRQ.Fire()
	}
	return nil
}

// buffer takes the next receive buffer, waiting until there is one. It returns
// nil when the wire is stopped.
func (p *Port) buffer(ring *Ring) (*Buffer, error) {
	for {
		b, err := ring.Pop()
		if b != nil || err != nil {
			return b, err
		}
		select {
		case <-p.rxWake:
		case <-p.stop:
			return nil, nil
		case <-p.peer.stop:
			return nil, nil
		}
	}
}

// Inject gives the driver a frame with a header, as if from the wire.
func (p *Port) Inject(h, frame []byte) error {
	b := make([]byte, netHeader)
	copy(b, h)
	return p.receive(b, frame)
}
