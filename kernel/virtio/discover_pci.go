//go:build !nopci

package virtio

import (
	"errors"
	"fmt"

	"kiln/kernel/machine"
	"kiln/kernel/pci"
)

// findPCI returns the devices on PCI.
func findPCI() ([]Found, error) {
	functions, err := pci.Find()
	var found []Found
	for _, f := range functions {
		if id, ok := pciDevice(f); ok {
			found = append(found, Found{ID: id, Where: f.String(), Open: func() (Transport, error) { return openPCI(f) }})
		}
	}
	return found, err
}

func openPCI(f *pci.Function) (Transport, error) {
	irq, err := machine.NewInterrupt()
	if err != nil {
		return nil, fmt.Errorf("%v: %w", f, err)
	}
	addr, data, err := irq.MSI()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%v: %w", f, err), irq.Close())
	}
	t, err := NewPCI(f, f.Mapper(), irq, addr, data)
	if err != nil {
		return nil, errors.Join(err, irq.Close())
	}
	return t, nil
}
