package ext4

import (
	"os"
	"testing"
)

// long reports whether tests should take their time.
var long = os.Getenv("KILN_LONG") != ""

// TestRandom does random operations on a file system and a model, and checks
// that both agree, before and after unmounting, and that e2fsck does.
func TestRandom(t *testing.T) {
	steps, rounds := 1500, 2
	if long {
		steps, rounds = 20_000, 10
	}
	for _, l := range layouts {
		t.Run(l.name, func(t *testing.T) {
			dev := mkfs(t, "48M", l.tune, l.args...)
			for seed := range rounds {
				f := mount(t, dev, Options{CacheBytes: 256 << 10})
				m := newModel(t, f, uint64(seed))
				if seed > 0 {
					m.root.children = nil
					m.clear()
				}
				for i := range steps {
					m.step()
					if i%500 == 499 {
						m.f.Shrink()
						m.compare()
					}
				}
				m.compare()
				if err := f.Unmount(); err != nil {
					t.Fatal(err)
				}
				fsck(t, dev)
				m.f = mount(t, dev, Options{})
				m.compare()
				if err := m.f.Unmount(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
