package virtio_test

import (
	"strings"
	"testing"

	"kiln/kernel/virtio"
	"kiln/kernel/virtio/virtiotest"
)

func TestStart(t *testing.T) {
	const f5, f7 = virtio.Features(1 << 5), virtio.Features(1 << 7)
	for _, tt := range []struct {
		name               string
		offered            virtio.Features
		required, optional virtio.Features
		refuse             bool
		want               virtio.Features
		err                string
	}{
		{"takes what is offered", virtio.FeatureVersion1 | f5, 0, f5 | f7, false, virtio.FeatureVersion1 | f5, ""},
		{"leaves what is unknown", virtio.FeatureVersion1 | f5, 0, 0, false, virtio.FeatureVersion1, ""},
		{"legacy", f5, 0, f5, false, 0, "does not offer feature bits 32"},
		{"lacks required", virtio.FeatureVersion1, f7, 0, false, 0, "does not offer feature bits 7"},
		{"refused", virtio.FeatureVersion1, 0, 0, true, 0, "refuses the features"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mem := new(virtiotest.Memory)
			tr := &virtiotest.Transport{ID: virtio.DeviceNet, Offered: tt.offered, RefuseFeatures: tt.refuse, Mem: mem}
			d, err := virtio.Start(tr, mem, tt.required, tt.optional)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("Start = %v, want %q", err, tt.err)
				}
				if tr.Status()&0x80 == 0 {
					t.Errorf("status %#x, want FAILED", tr.Status())
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := d.Features(); got != tt.want || got != tr.Accepted() {
				t.Errorf("features %v, device has %v, want %v", got, tr.Accepted(), tt.want)
			}
		})
	}
}

func TestCloseFreesQueues(t *testing.T) {
	mem := new(virtiotest.Memory)
	tr := &virtiotest.Transport{ID: virtio.DeviceRNG, Offered: virtio.FeatureVersion1, QueueLen: []int{8}, Mem: mem, IRQ: virtiotest.NewInterrupt()}
	d, err := virtio.Start(tr, mem, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.NewQueue(0, 8, 1); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if n := mem.Allocated(); n != 0 {
		t.Errorf("%d allocations left after Close", n)
	}
	if tr.Status() != 0 {
		t.Errorf("status %#x after Close, want 0", tr.Status())
	}
}
