package main

import (
	"kiln/kernel/metal/hostfile"
	"kiln/kernel/metal/linux"
)

// irqs are the descriptors of interrupts, by vector. Guarded by metalLock.
var irqs [vectorLastDevice + 1]*hostfile.File

// deviceInterrupt notes that a device raised vector, and wakes who waits. The
// serial port is served at once, as it has little room.
func deviceInterrupt(vector uint64) {
	if uint32(vector) == serialVector {
		files.Input(&console)
		wake()
		return
	}
	f := irqs[vector]
	if f == nil {
		return
	}
	if f.Level {
		ioAPIC.Mask(f.GSI, true) // until IRQAck: the device still asserts it
	}
	files.Raise(f)
	if !wake() {
		// No thread waits in epoll: EnterUser must end, so that the Go
		// scheduler looks at the descriptors soon.
		thisCPU().irqPending = 1
	}
}

// openIRQ returns a descriptor for an interrupt with a vector of its own.
func openIRQ() int64 {
	for v := uint32(vectorFirstDevice + 1); v <= vectorLastDevice; v++ {
		if irqs[v] != nil {
			continue
		}
		f, fd := files.New(hostfile.Interrupt)
		if f == nil {
			return -linux.EMFILE
		}
		f.Vector, f.GSI = v, -1
		irqs[v] = f
		return int64(fd)
	}
	return -linux.EMFILE
}

// closeIRQ stops the interrupt of a descriptor that is about to be closed.
func closeIRQ(f *hostfile.File) {
	if f.GSI >= 0 {
		ioAPIC.Mask(f.GSI, true)
	}
	irqs[f.Vector] = nil
}

// findIRQ returns the interrupt of a descriptor, or nil.
func findIRQ(fd int) *hostfile.File {
	if f := files.Find(fd); f != nil && f.Kind == hostfile.Interrupt {
		return f
	}
	return nil
}

// routeIRQ leads an input of the I/O APIC to a descriptor.
func routeIRQ(fd, gsi int, level bool) int64 {
	f := findIRQ(fd)
	if f == nil {
		return -linux.EBADF
	}
	if !routeGSI(gsi, f.Vector, level) {
		return -linux.EINVAL
	}
	f.GSI, f.Level = gsi, level
	return 0
}

// messageIRQ tells the address and data of the message that raises the
// interrupt.
func messageIRQ(fd int, m *[2]uint64) int64 {
	f := findIRQ(fd)
	if f == nil {
		return -linux.EBADF
	}
	m[0], m[1] = localAPIC.Message(f.Vector)
	return 0
}

// ackIRQ unmasks a level-triggered interrupt, whose device is quiet now.
func ackIRQ(fd int) int64 {
	f := findIRQ(fd)
	if f == nil {
		return -linux.EBADF
	}
	if f.Level {
		ioAPIC.Mask(f.GSI, false)
	}
	return 0
}
