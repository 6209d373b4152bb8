package libvirt

import (
	"encoding/xml"
	"testing"
)

// TestXML reads back what a name and a path of markup come to.
func TestXML(t *testing.T) {
	m := Machine{Name: "a<b", Memory: 192, Disk: "/tmp/it's & <so>.img", Format: "qcow2"}
	for _, kvm := range []bool{false, true} {
		m.KVM = kvm
		text, err := m.XML()
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			Type   string `xml:"type,attr"`
			Name   string `xml:"name"`
			Memory struct {
				Unit string `xml:"unit,attr"`
				N    int    `xml:",chardata"`
			} `xml:"memory"`
			CPU struct {
				Mode string `xml:"mode,attr"`
			} `xml:"cpu"`
			Disk struct {
				Driver struct {
					Type string `xml:"type,attr"`
				} `xml:"driver"`
				Source struct {
					File string `xml:"file,attr"`
				} `xml:"source"`
			} `xml:"devices>disk"`
		}
		if err := xml.Unmarshal([]byte(text), &got); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		kind, mode := "qemu", "maximum"
		if kvm {
			kind, mode = "kvm", "host-passthrough"
		}
		if got.Type != kind || got.CPU.Mode != mode {
			t.Errorf("type %q, CPU %q, want %q, %q", got.Type, got.CPU.Mode, kind, mode)
		}
		if got.Name != m.Name || got.Memory.N != m.Memory || got.Memory.Unit != "MiB" || got.Disk.Source.File != m.Disk || got.Disk.Driver.Type != m.Format {
			t.Errorf("%+v, want what is in %+v", got, m)
		}
	}
}
