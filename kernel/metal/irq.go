package main

import "kiln/kernel/metal/linux"

// deviceInterrupt notes that a device raised vector, and wakes who waits. The
// serial port is served at once, as it has little room.
func deviceInterrupt(vector uint64) {
	if uint32(vector) == serialVector {
		console.drain()
		return
	}
	f := irqs[vector]
	if f == nil {
		return
	}
	f.count++
	if f.level {
		maskGSI(f.gsi, true) // until IRQAck: the device still asserts it
	}
	noteInterrupt(fileReady(f))
}

// noteInterrupt makes sure that the Go scheduler looks at the descriptors
// soon: a thread that waits in epoll does so anyway, else EnterUser must end.
func noteInterrupt(woke bool) {
	if !woke {
		thisCPU().irqPending = 1
	}
}

// openIRQ returns a descriptor for an interrupt with a vector of its own.
func openIRQ() int64 {
	for v := uint32(vectorFirstDevice + 1); v <= vectorLastDevice; v++ {
		if irqs[v] != nil {
			continue
		}
		f, fd := newFile(fileIRQ)
		if f == nil {
			return -linux.EMFILE
		}
		f.vector, f.gsi = v, -1
		irqs[v] = f
		return int64(fd)
	}
	return -linux.EMFILE
}

func findIRQ(fd int) *file {
	if f := findFile(fd); f != nil && f.kind == fileIRQ {
		return f
	}
	return nil
}

func routeIRQ(fd, gsi int, level bool) int64 {
	f := findIRQ(fd)
	if f == nil {
		return -linux.EBADF
	}
	if !routeGSI(gsi, f.vector, level) {
		return -linux.EINVAL
	}
	f.gsi, f.level = gsi, level
	return 0
}

// messageIRQ tells the address and data of the message that raises the
// interrupt, Intel SDM vol. 3A §10.11.
func messageIRQ(fd int, m *[2]uint64) int64 {
	f := findIRQ(fd)
	if f == nil {
		return -linux.EBADF
	}
	id := uint64(readAPIC(apicID))
	if apicMMIO != 0 {
		id >>= 24
	}
	m[0] = 0xfee00000 | id<<12
	m[1] = uint64(f.vector) // edge, fixed delivery
	return 0
}

func ackIRQ(fd int) int64 {
	f := findIRQ(fd)
	if f == nil {
		return -linux.EBADF
	}
	if f.level {
		maskGSI(f.gsi, false)
	}
	return 0
}
