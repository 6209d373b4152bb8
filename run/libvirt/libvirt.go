// Package libvirt describes a machine to libvirt, for virsh define.
package libvirt

import (
	"encoding/xml"
	"strings"
	"text/template"
)

// Machine is a machine with one disk, which it boots from, and one network
// interface, in libvirt's default network.
type Machine struct {
	Name   string
	Memory int // MB
	KVM    bool
	Disk   string // absolute path
	Format string // of the disk, by QEMU's names
}

// domain is the description (https://libvirt.org/formatdomain.html). The devices
// are those that the guest has drivers for; what it prints is on the console.
var domain = template.Must(template.New("domain").Funcs(template.FuncMap{"text": escape}).Parse(`<domain type='{{if .KVM}}kvm{{else}}qemu{{end}}'>
  <name>{{text .Name}}</name>
  <memory unit='MiB'>{{.Memory}}</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <boot dev='hd'/>
  </os>
  <features>
    <acpi/>
    <apic/>
  </features>
  <cpu mode='{{if .KVM}}host-passthrough{{else}}maximum{{end}}'/>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='{{.Format}}'/>
      <source file='{{text .Disk}}'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <interface type='network'>
      <source network='default'/>
      <model type='virtio'/>
    </interface>
    <rng model='virtio'>
      <backend model='random'>/dev/urandom</backend>
    </rng>
    <serial type='pty'/>
    <console type='pty'/>
  </devices>
</domain>
`))

// XML returns the description.
func (m Machine) XML() (string, error) {
	var b strings.Builder
	err := domain.Execute(&b, m)
	return b.String(), err
}

// escape makes s text of XML, in an attribute too.
func escape(s string) (string, error) {
	var b strings.Builder
	err := xml.EscapeText(&b, []byte(s))
	return b.String(), err
}
