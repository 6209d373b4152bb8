package image

import "testing"

func TestFindConfig(t *testing.T) {
	for in, want := range map[string]string{
		"hw_generic": "hw_generic", "hw-virtio": "hw_virtio", "microvm": "microvm", "xen_pv": "", "": "", "hw_generic ": "",
	} {
		c, ok := FindConfig(in)
		if ok != (want != "") || c.Name != want {
			t.Errorf("FindConfig(%q) = %q, %v, want %q", in, c.Name, ok, want)
		}
	}
	for _, name := range ConfigNames() {
		c, ok := FindConfig(name)
		if !ok || c.Short == "" || len(c.Components) == 0 || !c.PCI && !c.MMIO {
			t.Errorf("configuration %s is %+v", name, c)
		}
	}
	if _, ok := FindConfig(DefaultConfig); !ok {
		t.Errorf("there is no %s", DefaultConfig)
	}
}
