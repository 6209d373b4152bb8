// Package serial drives a serial port: National Semiconductor PC16550D
// (datasheet of June 1995).
//
// Context: trap context. Locking: the caller holds the lock that guards the
// Port; a report of a crash, which ends the machine, writes without.
package serial

import (
	"kiln/kernel/metal/cpu"
	"kiln/kernel/metal/raw"
)

// Registers, as offsets from the port's base, and their bits.
const (
	regData    = 0
	regIER     = 1 // RW, interrupt enable
	regFCR     = 2 // W, FIFO control
	regLCR     = 3 // RW, line control
	regMCR     = 4 // RW, modem control
	regLSR     = 5 // R, line status
	regScratch = 7 // RW

	lsrDataReady = 1 << 0
	lsrEmpty     = 1 << 5 // room for a byte
	lsrSent      = 1 << 6 // all bytes are on the line
	ierReceive   = 1 << 0
	lcrDivisor   = 0x80 // registers 0 and 1 are the divisor
	lcr8N1       = 3
	fcrOn        = 0xc7 // FIFOs on and cleared, 14-byte trigger
	mcrReady     = 0x0b // DTR, RTS, OUT2 (which gates the interrupt)
)

// InputCapacity is the size in bytes of the ring that Listen takes, a power of
// two.
const InputCapacity = 4096

// patience is how often the line status is read before output is given up.
const patience = 50_000_000

// Port is one serial port. The zero value is a port that is not there.
type Port struct {
	base    uint16
	present bool
	input   uintptr // ring of InputCapacity bytes, 0 before Listen
	head    uint32  // next to read
	tail    uint32  // next to fill
}

// Init looks for a port at an I/O address and makes it ready for output:
// 115,200 baud, 8N1.
func (p *Port) Init(base uint16) {
	p.base = base
	cpu.Out8(base+regScratch, 0x5a)
	p.present = cpu.In8(base+regScratch) == 0x5a
	if !p.present {
		return
	}
	cpu.Out8(base+regIER, 0)
	cpu.Out8(base+regLCR, lcrDivisor)
	cpu.Out8(base+0, 1)
	cpu.Out8(base+1, 0)
	cpu.Out8(base+regLCR, lcr8N1)
	cpu.Out8(base+regFCR, fcrOn)
	cpu.Out8(base+regMCR, mcrReady)
}

// Present reports whether Init found a port.
func (p *Port) Present() bool { return p.present }

// Listen has the port raise its interrupt when input arrives, which Drain puts
// into ring, InputCapacity bytes of memory that belong to the port from now on.
// The interrupt's way to the CPU must be open.
func (p *Port) Listen(ring uintptr) {
	p.input = ring
	if p.present {
		cpu.Out8(p.base+regIER, ierReceive)
	}
}

// Drain moves what the port received to the ring, and reports whether there was
// anything. The port's interrupt is edge-triggered: unless the ring is full,
// Drain leaves nothing.
func (p *Port) Drain() bool {
	if !p.present || p.input == 0 {
		return false
	}
	before := p.tail
	for p.tail-p.head < InputCapacity && cpu.In8(p.base+regLSR)&lsrDataReady != 0 {
		*raw.At[byte](p.input + uintptr(p.tail%InputCapacity)) = cpu.In8(p.base + regData)
		p.tail++
	}
	return p.tail != before
}

// Readable reports whether there is input in the ring.
func (p *Port) Readable() bool { return p.head != p.tail }

// Read moves input from the ring to b and returns how many bytes. The caller
// then drains the port, which may have waited for room.
func (p *Port) Read(b []byte) int {
	n := 0
	for n < len(b) && p.head != p.tail {
		b[n] = *raw.At[byte](p.input + uintptr(p.head%InputCapacity))
		p.head++
		n++
	}
	return n
}

// Write sends b. What nobody takes is lost.
func (p *Port) Write(b []byte) {
	for _, c := range b {
		p.Put(c)
	}
}

// Put sends one byte.
func (p *Port) Put(c byte) {
	if p.present && p.await(lsrEmpty) {
		cpu.Out8(p.base+regData, c)
	}
}

// Flush waits until everything written has left the port.
func (p *Port) Flush() {
	if p.present {
		p.await(lsrSent)
	}
}

// await waits for a bit of the line status. It gives up, and reports false, if
// nobody takes the output: metal does not hang for it.
func (p *Port) await(status uint8) bool {
	for i := 0; cpu.In8(p.base+regLSR)&status == 0; i++ {
		if i == patience {
			return false
		}
		cpu.Pause()
	}
	return true
}
