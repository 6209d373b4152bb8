package virtio

import (
	"fmt"
	"strings"
)

// Features is a set of feature bits: 0 to 23 and 50 to 127 belong to the kind
// of device, the others to all (virtio 1.2 §2.2). Those above 63 are not used.
type Features uint64

// Features of all devices, virtio 1.2 §6.
const (
	FeatureIndirect Features = 1 << 28 // descriptor tables outside of the queue
	FeatureEventIdx Features = 1 << 29 // notifications at an index
	FeatureVersion1 Features = 1 << 32 // not a legacy device
)

// String lists the bits by number, as the specification does.
func (f Features) String() string {
	if f == 0 {
		return "no features"
	}
	var b strings.Builder
	b.WriteString("feature bits")
	for i := range 64 {
		if f>>i&1 != 0 {
			fmt.Fprintf(&b, " %d", i)
		}
	}
	return b.String()
}
