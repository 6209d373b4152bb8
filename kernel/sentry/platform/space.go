package platform

import (
	"fmt"

	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/memmap"
	"gvisor.dev/gvisor/pkg/sentry/platform"

	"kiln/kernel/machine"
)

// space is a program's address space. The Sentry's MemoryManager serialises
// changes to it; programs may run in it meanwhile.
type space struct {
	platform.NoAddressSpaceIO
	table machine.PageTable
}

// MapFile implements platform.AddressSpace. Page frames that the file does not
// have yet appear when the program, or the Sentry, first touches them; so
// precommit, which is advice, has nothing to do.
func (s *space) MapFile(addr hostarch.Addr, f memmap.File, fr memmap.FileRange, at hostarch.AccessType, precommit bool) error {
	blocks, err := f.MapInternal(fr, hostarch.AccessType{
		// The kernel's mapping need not be executable for the program's.
		Read:  at.Read || at.Execute,
		Write: at.Write,
	})
	if err != nil {
		return err
	}
	for !blocks.IsEmpty() {
		b := blocks.Head()
		blocks = blocks.Tail()
		if err := s.table.Map(uintptr(addr), b.Addr(), uintptr(b.Len()), access(at)); err != nil {
			return fmt.Errorf("map %#x bytes at %#x: %w", b.Len(), addr, err)
		}
		addr += hostarch.Addr(b.Len())
	}
	return nil
}

// Unmap implements platform.AddressSpace.
func (s *space) Unmap(addr hostarch.Addr, length uint64) {
	// The Sentry gives the pages back to the memory file after this, so to
	// go on after a failure would give a program someone else's memory.
	if err := s.table.Unmap(uintptr(addr), uintptr(length)); err != nil {
		panic(fmt.Sprintf("unmap %#x bytes at %#x: %v", length, addr, err))
	}
}

// Release implements platform.AddressSpace.
func (s *space) Release() {
	if err := s.table.Free(); err != nil {
		panic(fmt.Sprintf("release page table %#x: %v", s.table, err))
	}
}

// Frames returns how many page frames an address space of the platform's has, and
// how many pages it maps. It must not be released meanwhile.
func Frames(as platform.AddressSpace) (frames, mapped int, err error) {
	return as.(*space).table.Frames()
}

// PreFork implements platform.AddressSpace.
func (*space) PreFork() {}

// PostFork implements platform.AddressSpace.
func (*space) PostFork() {}

// access translates gVisor's access type to the machine's.
func access(at hostarch.AccessType) (a machine.Access) {
	if at.Read {
		a |= machine.Read
	}
	if at.Write {
		a |= machine.Write
	}
	if at.Execute {
		a |= machine.Execute
	}
	return a
}
