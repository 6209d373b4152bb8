package sentry

import (
	"fmt"
	"io"

	"gvisor.dev/gvisor/pkg/cpuid"
	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/pkg/rand"

	"kiln/kernel/machine"
	"kiln/kernel/virtio"
	"kiln/kernel/virtio/rng"
)

// useEntropyDevice has the Sentry take its random numbers, and those that it
// gives programs, from a virtio entropy device if the CPU makes none. Without
// either they come from metal, which has only the clock's jitter then.
func useEntropyDevice(found []virtio.Found) error {
	if cpuid.HostFeatureSet().HasFeature(cpuid.X86FeatureRDRAND) {
		return nil
	}
	for _, f := range found {
		if f.ID != virtio.DeviceRNG {
			continue
		}
		t, err := f.Open()
		if err != nil {
			return fmt.Errorf("entropy device: %w", err)
		}
		d, err := rng.Open(t, virtio.DMA{})
		if err != nil {
			return fmt.Errorf("entropy device: %w", err)
		}
		rand.Reader = entropy{d}
		log.Infof("Random numbers come from the entropy device")
		return nil
	}
	return nil
}

// entropy reads from a source that gives a few bytes at a time. Like Linux, it
// gives up to a page at once.
type entropy struct{ from io.Reader }

func (e entropy) Read(p []byte) (int, error) {
	return io.ReadAtLeast(e.from, p, min(len(p), machine.PageSize))
}
