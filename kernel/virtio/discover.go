package virtio

import "errors"

// Found is a device that can be opened.
type Found struct {
	ID DeviceID
	// Where says where the device is, for messages.
	Where string
	// Open returns the device's transport. It takes an interrupt vector.
	Open func() (Transport, error)
}

// Discover returns the machine's virtio devices: those that the boot command
// line names, in its order, then those on PCI, by address, as far as this
// kernel knows the transport. The error tells of devices that cannot be used;
// the others are returned all the same.
func Discover() ([]Found, error) {
	named, err1 := findMMIO()
	onPCI, err2 := findPCI()
	return append(named, onPCI...), errors.Join(err1, err2)
}
