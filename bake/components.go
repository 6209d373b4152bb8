package bake

import (
	"embed"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// components holds the compressed kernel components, which build.sh puts
// there; a tree that was not built has only the README.
//
//go:embed components
var components embed.FS

// component returns the ELF file of a kernel component: "metal", or "kernel-"
// and the name of a configuration.
func component(name string) ([]byte, error) {
	packed, err := components.ReadFile("components/" + name + ".zst")
	if err != nil {
		return nil, fmt.Errorf("this kiln was built without its kernel components: run build.sh: %w", err)
	}
	d, err := zstd.NewReader(nil)
	if err != nil {
		return nil, fmt.Errorf("kernel component %s: %w", name, err)
	}
	defer d.Close()
	b, err := d.DecodeAll(packed, nil)
	if err != nil {
		return nil, fmt.Errorf("kernel component %s: %w", name, err)
	}
	return b, nil
}
