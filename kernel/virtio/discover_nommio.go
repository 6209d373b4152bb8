//go:build nommio

package virtio

// findMMIO finds nothing: this kernel is for machines with PCI.
func findMMIO() ([]Found, error) { return nil, nil }
