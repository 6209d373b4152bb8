package serial

import (
	"bytes"
	"testing"

	"kiln/kernel/metal/cpu"
	"kiln/kernel/metal/raw"
)

const com1 = 0x3f8

// uart is a PC16550D as software sees it.
type uart struct {
	absent  bool
	regs    [8]uint8
	divisor [2]uint8
	in      []byte // what the other end sent
	out     []byte
	busy    int // reads of the line status until a byte has left
	stuck   bool
}

// connect makes u the machine's port at com1.
func (u *uart) connect(t *testing.T) {
	cpu.Pause = func() {}
	cpu.In8 = func(port uint16) uint8 {
		reg := port - com1
		switch {
		case u.absent:
			return 0xff
		case reg > 7:
			t.Fatalf("read of port %#x", port)
		case reg == regData:
			c := u.in[0]
			u.in = u.in[1:]
			return c
		case reg == regLSR:
			status := uint8(0)
			if len(u.in) > 0 {
				status |= lsrDataReady
			}
			if u.busy > 0 {
				u.busy--
			} else if !u.stuck {
				status |= lsrEmpty | lsrSent
			}
			return status
		}
		return u.regs[reg]
	}
	cpu.Out8 = func(port uint16, v uint8) {
		reg := port - com1
		switch {
		case u.absent:
		case reg > 7:
			t.Fatalf("write of port %#x", port)
		case reg <= 1 && u.regs[regLCR]&lcrDivisor != 0:
			u.divisor[reg] = v
		case reg == regData:
			if u.busy > 0 {
				t.Error("a byte was sent before the one before had left")
			}
			u.out = append(u.out, v)
			u.busy = 3
		default:
			u.regs[reg] = v
		}
	}
}

func TestOutput(t *testing.T) {
	var (
		u uart
		p Port
	)
	u.connect(t)
	p.Init(com1)
	if !p.Present() {
		t.Fatal("the port was not found")
	}
	if u.divisor != [2]uint8{1, 0} || u.regs[regLCR] != lcr8N1 || u.regs[regIER] != 0 {
		t.Errorf("after Init: divisor % x, LCR %#x, IER %#x", u.divisor, u.regs[regLCR], u.regs[regIER])
	}
	p.Write([]byte("hello\r\n"))
	p.Flush()
	if string(u.out) != "hello\r\n" || u.busy != 0 {
		t.Errorf("sent %q, %d reads before the line is idle", u.out, u.busy)
	}
}

// TestAbsent: a port that is not there swallows output and has no input.
func TestAbsent(t *testing.T) {
	u := uart{absent: true}
	u.connect(t)
	var p Port
	p.Init(com1)
	p.Put('x')
	p.Flush()
	p.Listen(1)
	if p.Present() || p.Drain() || p.Readable() {
		t.Error("a port that is not there has input")
	}
}

// TestStuck: output that nobody takes is given up.
func TestStuck(t *testing.T) {
	u := uart{}
	u.connect(t)
	var p Port
	p.Init(com1)
	u.stuck = true
	p.Put('x')
	if len(u.out) != 0 {
		t.Errorf("%q was sent through a port without room", u.out)
	}
}

// ring is not in a function's frame, which may move.
var ring [InputCapacity]byte

// TestInput sends more than the ring holds, in parts, and reads it back.
func TestInput(t *testing.T) {
	var (
		u    uart
		p    Port
		sent []byte
		got  []byte
	)
	u.connect(t)
	p.Init(com1)
	u.in = []byte("early")
	if p.Drain() {
		t.Error("Drain before Listen")
	}
	p.Listen(raw.Addr(&ring[0]))
	if u.regs[regIER] != ierReceive {
		t.Errorf("IER = %#x", u.regs[regIER])
	}
	sent = append(sent, u.in...)
	for i := range 3 * InputCapacity {
		c := byte(i * 7)
		u.in, sent = append(u.in, c), append(sent, c)
	}
	if !p.Drain() || p.Drain() {
		t.Error("Drain fills the ring once")
	}
	if len(u.in) != len(sent)-InputCapacity {
		t.Errorf("%d bytes were left in the port, want %d", len(u.in), len(sent)-InputCapacity)
	}
	b := make([]byte, 1000)
	for {
		n := p.Read(b)
		if n == 0 {
			break
		}
		got = append(got, b[:n]...)
		p.Drain()
	}
	if !bytes.Equal(got, sent) || p.Readable() {
		t.Errorf("%d bytes read, %d sent, readable %v", len(got), len(sent), p.Readable())
	}
}
