//go:build !nommio

package virtio

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"kiln/kernel/machine"
	"kiln/kernel/pci/mmio"
)

// findMMIO returns the devices that the boot command line names.
func findMMIO() ([]Found, error) {
	cmdline, err := machine.Cmdline()
	if err != nil {
		return nil, fmt.Errorf("virtio: boot command line: %w", err)
	}
	slots, err := parseSlots(cmdline)
	errs := []error{err}
	var found []Found
	for _, s := range slots {
		f, err := s.probe()
		if err != nil {
			errs = append(errs, err)
		} else if f.ID != DeviceNone {
			found = append(found, f)
		}
	}
	return found, errors.Join(errs...)
}

// slot is a place for an MMIO device.
type slot struct {
	addr machine.PhysAddr
	size int // bytes
	gsi  int // I/O APIC input
}

// slotWord begins a word of the boot command line that describes a slot:
//
//	virtio_mmio.device=<size>@<address>:<interrupt>[:<id>]
//
// as Linux has it (Documentation/admin-guide/kernel-parameters.txt).
const slotWord = "virtio_mmio.device="

// slotMaxSize bounds a slot; real ones have 512 to 4096 bytes.
const slotMaxSize = 1 << 20

// parseSlots returns the slots in a boot command line. The error tells of
// words that it does not understand.
func parseSlots(cmdline string) ([]slot, error) {
	var slots []slot
	var errs []error
	for word := range strings.FieldsSeq(cmdline) {
		spec, ok := strings.CutPrefix(word, slotWord)
		if !ok {
			continue
		}
		s, err := parseSlot(spec)
		if err != nil {
			errs = append(errs, fmt.Errorf("boot command line: %s: %w", word, err))
			continue
		}
		slots = append(slots, s)
	}
	return slots, errors.Join(errs...)
}

func parseSlot(spec string) (slot, error) {
	sizeText, rest, ok := strings.Cut(spec, "@")
	fields := strings.Split(rest, ":")
	if !ok || len(fields) < 2 || len(fields) > 3 {
		return slot{}, errors.New("want size@address:interrupt")
	}
	size, err := parseSize(sizeText)
	if err != nil {
		return slot{}, fmt.Errorf("size: %w", err)
	}
	addr, err := strconv.ParseUint(fields[0], 0, 52)
	if err != nil {
		return slot{}, fmt.Errorf("address: %w", err)
	}
	gsi, err := strconv.ParseUint(fields[1], 0, 8)
	if err != nil {
		return slot{}, fmt.Errorf("interrupt: %w", err)
	}
	if addr%4 != 0 || size < mmioMinSize || size > slotMaxSize {
		return slot{}, fmt.Errorf("%#x bytes at %#x cannot be registers", size, addr)
	}
	return slot{machine.PhysAddr(addr), int(size), int(gsi)}, nil
}

// parseSize reads a number that may end in K, as Linux prints and takes it.
func parseSize(s string) (uint64, error) {
	digits := strings.TrimRight(s, "Kk")
	n, err := strconv.ParseUint(digits, 0, 32)
	if err != nil {
		return 0, err
	}
	if len(s)-len(digits) > 1 {
		return 0, fmt.Errorf("%q is not a size", s)
	}
	if len(s) != len(digits) {
		n <<= 10
	}
	return n, nil
}

// probe looks what is in the slot.
func (s slot) probe() (Found, error) {
	where := fmt.Sprintf("MMIO %#x", uint64(s.addr))
	regs, err := mmio.Map(s.addr, s.size)
	if err != nil {
		return Found{}, fmt.Errorf("%s: %w", where, err)
	}
	id, err := probeMMIO(regs)
	if err != nil {
		return Found{}, fmt.Errorf("%s: %w", where, err)
	}
	return Found{ID: id, Where: where, Open: func() (Transport, error) {
		irq, err := machine.NewInterrupt()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", where, err)
		}
		// The line stays up until InterruptACK is written: see MMIO.Wait.
		if err := irq.Route(s.gsi, false); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", where, err), irq.Close())
		}
		t, err := NewMMIO(regs, s.size, irq)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", where, err), irq.Close())
		}
		return t, nil
	}}, nil
}
