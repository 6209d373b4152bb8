package console

import (
	"encoding/binary"
	"time"
)

// Control messages, virtio 1.2 §5.3.6.2: the port (32 bits), an event and a
// value (16 bits each). A name follows its event.
const (
	eventDeviceReady = 0
	eventPortAdd     = 1
	eventPortReady   = 3
	eventPortOpen    = 6
	eventPortName    = 7

	messageSize = 8
)

// thePort is the port that is opened: the first that is no console.
const thePort = 1

// connect opens the port if it has the name.
func (d *Device) connect(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	late := false
	timer := time.AfterFunc(openTimeout, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		late = true
		d.wake.Broadcast()
	})
	defer timer.Stop()
	d.command(0, eventDeviceReady)
	for {
		i, n, ok, err := d.control.pop()
		switch {
		case d.err != nil:
			return d.err
		case err != nil:
			d.err = err
			return err
		case !ok && late:
			return ErrNoPort
		case !ok:
			d.wake.Wait()
			continue
		}
		opened, err := d.answer(d.control.bytes(i)[:n], name)
		d.control.push(i, controlSize, true)
		d.control.Kick()
		if opened || err != nil {
			return err
		}
	}
}

// answer answers a control message. It reports whether the port is open.
func (d *Device) answer(m []byte, name string) (opened bool, err error) {
	if len(m) < messageSize || binary.LittleEndian.Uint32(m) != thePort {
		return false, nil
	}
	switch binary.LittleEndian.Uint16(m[4:]) {
	case eventPortAdd:
		d.command(thePort, eventPortReady)
	case eventPortName:
		got := m[messageSize:]
		for len(got) > 0 && got[len(got)-1] == 0 { // QEMU's has a NUL
			got = got[:len(got)-1]
		}
		if string(got) != name {
			return false, ErrNoPort
		}
		d.command(thePort, eventPortOpen)
		return true, nil
	}
	return false, nil
}

// command sends a control message with the value 1. The caller holds mu.
func (d *Device) command(port uint32, event uint16) {
	for {
		i, _, ok, err := d.commands.pop()
		if err != nil || !ok {
			break // what is wrong with it, the answers tell by not coming
		}
		d.commands.free = append(d.commands.free, i)
	}
	if len(d.commands.free) == 0 {
		return // the same
	}
	i := d.commands.take()
	m := d.commands.bytes(i)
	binary.LittleEndian.PutUint32(m, port)
	binary.LittleEndian.PutUint16(m[4:], event)
	binary.LittleEndian.PutUint16(m[6:], 1)
	d.commands.push(i, messageSize, false)
	d.commands.Kick()
}
