package machine

import (
	"os"
	"syscall"
	"unsafe"

	"kiln/kernel/metal/abi"
)

// Interrupt is a device interrupt: a vector of its own and a descriptor that
// becomes readable when it fires.
type Interrupt struct {
	fd   int
	file *os.File
}

// NewInterrupt allocates a vector. Nothing fires until a device is told of it
// through MSI or Route.
func NewInterrupt() (*Interrupt, error) {
	fd, err := hostcall("new interrupt", abi.SysIRQOpen, 0, 0, 0, 0, 0)
	if err != nil {
		return nil, err
	}
	// Non-blocking, so that os hands the descriptor to the netpoller.
	if err := syscall.SetNonblock(int(fd), true); err != nil {
		return nil, err
	}
	return &Interrupt{fd: int(fd), file: os.NewFile(fd, "interrupt")}, nil
}

// MSI returns the message address and data that fire the interrupt
// (PCI 3.0 §6.8, Intel SDM vol. 3A §10.11).
func (i *Interrupt) MSI() (addr uint64, data uint32, err error) {
	var m [2]uint64
	_, err = hostcall("message-signalled interrupt", abi.SysIRQMSI, uintptr(i.fd), uintptr(unsafe.Pointer(&m)), 0, 0, 0)
	return m[0], uint32(m[1]), err
}

// Route makes I/O APIC input gsi fire the interrupt. A level-triggered input
// is masked when it fires, until Ack.
func (i *Interrupt) Route(gsi int, level bool) error {
	var l uintptr
	if level {
		l = 1
	}
	_, err := hostcall("route interrupt", abi.SysIRQRoute, uintptr(i.fd), uintptr(gsi), l, 0, 0)
	return err
}

// Wait blocks the goroutine until the interrupt has fired since the last Wait.
func (i *Interrupt) Wait() error {
	var n [8]byte
	_, err := i.file.Read(n[:])
	return err
}

// Ack unmasks a level-triggered input. The device must be quiet.
func (i *Interrupt) Ack() error {
	_, err := hostcall("acknowledge interrupt", abi.SysIRQAck, uintptr(i.fd), 0, 0, 0, 0)
	return err
}

// Close gives back the vector.
func (i *Interrupt) Close() error { return i.file.Close() }
