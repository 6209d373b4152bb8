package main

import (
	"kiln/kernel/metal/cpu"
	"kiln/kernel/metal/raw"
)

// The serial port COM1, National Semiconductor PC16550D: the console of a
// machine without a channel to the host, and what a crash is reported on.
const (
	com1 = 0x3f8

	uartData      = 0
	uartIER       = 1 // interrupt enable
	uartFCR       = 2 // FIFO control
	uartLCR       = 3 // line control
	uartMCR       = 4 // modem control
	uartLSR       = 5 // line status
	uartScratch   = 7
	lsrDataReady  = 1 << 0
	lsrEmpty      = 1 << 5 // room for a byte
	lsrSent       = 1 << 6 // all bytes are on the line
	ierReceive    = 1 << 0
	mcrReady      = 0x0b // DTR, RTS, OUT2 (which gates the interrupt)
	inputCapacity = 4096 // bytes, a power of two
)

// serial is one port.
type serial struct {
	port    uint16
	gsi     int
	present bool
	input   uintptr // ring of inputCapacity bytes
	head    uint32  // next to read
	tail    uint32  // next to fill
	file    *file
}

var console = serial{port: com1, gsi: 4}

// initSerial makes the port ready for output.
func initSerial() {
	s := &console
	cpu.Out8(s.port+uartScratch, 0x5a)
	s.present = cpu.In8(s.port+uartScratch) == 0x5a
	if !s.present {
		return
	}
	cpu.Out8(s.port+uartIER, 0)
	cpu.Out8(s.port+uartLCR, 0x80) // divisor latch
	cpu.Out8(s.port+0, 1)          // 115,200 baud
	cpu.Out8(s.port+1, 0)
	cpu.Out8(s.port+uartLCR, 3)    // 8N1
	cpu.Out8(s.port+uartFCR, 0xc7) // FIFOs on and cleared, 14-byte trigger
	cpu.Out8(s.port+uartMCR, mcrReady)
}

// listen turns on input, whose arrival makes f readable.
func (s *serial) listen(f *file, vector uint32) {
	s.file = f
	s.input = allocPages(0)
	if !s.present || s.input == 0 {
		return
	}
	cpu.Out8(s.port+uartIER, ierReceive)
	routeGSI(s.gsi, vector, false)
	s.drain()
}

func (s *serial) writeByte(b byte) {
	if s.await(lsrEmpty) {
		cpu.Out8(s.port+uartData, b)
	}
}

// flush waits until everything written has left the port.
func (s *serial) flush() {
	if s.present {
		s.await(lsrSent)
	}
}

// await waits for a bit of the line status. It gives up, and reports false, if
// nobody takes the output: metal does not hang for it.
func (s *serial) await(status uint8) bool {
	for i := 0; cpu.In8(s.port+uartLSR)&status == 0; i++ {
		if i == 50_000_000 {
			return false
		}
		cpu.Pause()
	}
	return true
}

func (s *serial) write(p []byte) {
	if !s.present {
		return
	}
	for _, b := range p {
		s.writeByte(b)
	}
}

// drain moves what the port received to the input ring. Its interrupt is
// edge-triggered: unless the ring is full, it must leave nothing.
func (s *serial) drain() {
	before := s.tail
	for s.tail-s.head < inputCapacity && cpu.In8(s.port+uartLSR)&lsrDataReady != 0 {
		*raw.At[byte](s.input + uintptr(s.tail%inputCapacity)) = cpu.In8(s.port + uartData)
		s.tail++
	}
	if s.tail != before && s.file != nil {
		fileReady(s.file)
	}
}

// read moves input to p and returns how many bytes.
func (s *serial) read(p []byte) int {
	n := 0
	for n < len(p) && s.head != s.tail {
		p[n] = *raw.At[byte](s.input + uintptr(s.head%inputCapacity))
		s.head++
		n++
	}
	if n > 0 {
		s.drain()
	}
	return n
}
