package linuxguest

import (
	"fmt"
	"path/filepath"
	"strconv"
)

// NetModules make virtio-net work over PCI, in loading order.
var NetModules = []string{
	"drivers/virtio/virtio_ring.ko",
	"drivers/virtio/virtio.ko",
	"drivers/virtio/virtio_pci_legacy_dev.ko",
	"drivers/virtio/virtio_pci_modern_dev.ko",
	"drivers/virtio/virtio_pci.ko",
	"net/core/failover.ko",
	"drivers/net/net_failover.ko",
	"drivers/net/virtio_net.ko",
}

// DiskModules make virtio-blk work over PCI, after NetModules; ext4 is in the
// kernel.
var DiskModules = []string{"drivers/block/virtio_blk.ko"}

// KVMModules make /dev/kvm, on a CPU with AMD's SVM.
var KVMModules = []string{"virt/lib/irqbypass.ko", "arch/x86/kvm/kvm.ko", "arch/x86/kvm/kvm-amd.ko"}

// initHead begins every process 1 of AddInit's.
const initHead = `#!/bin/busybox sh
bb=/bin/busybox
$bb mount -t proc proc /proc
$bb mount -t devtmpfs dev /dev
for m in /modules/*.ko; do $bb insmod $m || echo "insmod $m failed"; done
`

// AddInit makes a script process 1, at /init: it finds BusyBox as $bb, /proc
// and /dev mounted, and NetModules, DiskModules and more loaded.
func (fs *Initramfs) AddInit(k Kernel, script string, more ...string) {
	fs.add("/bin/busybox", "/usr/bin/busybox")
	n := 0
	for _, list := range [][]string{NetModules, DiskModules, more} {
		for _, m := range list {
			fs.add(fmt.Sprintf("/modules/%02d-%s", n, filepath.Base(m)), filepath.Join(k.Modules, m))
			n++
		}
	}
	fs.text = map[string]string{"/init": initHead + script}
}

// A Machine is what QEMU makes: one CPU, a serial console on standard input and
// output, and disks.
type Machine struct {
	Type      string // of QEMU's -M
	Accel     string
	Kernel    string // a Kernel's BzImage or Vmlinux
	Initramfs string
	Init      string   // process 1, in the initramfs
	Memory    int      // MB
	Disks     []string // raw images: /dev/vda, …; need a machine with PCI
}

// Flags returns QEMU's flags. The end of process 1 is a panic to Linux, which
// ends QEMU at once.
func (m Machine) Flags() []string {
	flags := []string{
		"-M", m.Type, "-accel", m.Accel, "-cpu", "max", "-smp", "1", "-m", strconv.Itoa(m.Memory),
		"-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot",
		"-kernel", m.Kernel, "-initrd", m.Initramfs,
		"-append", "console=ttyS0 quiet panic=-1 reboot=t rdinit=" + m.Init,
	}
	for i, disk := range m.Disks {
		flags = append(flags,
			"-blockdev", fmt.Sprintf(`{"driver":"raw","node-name":"disk%d","file":{"driver":"file","filename":%q,"discard":"unmap"},"discard":"unmap"}`, i, disk),
			"-device", fmt.Sprintf("virtio-blk-pci,disable-legacy=on,drive=disk%d,write-cache=on", i))
	}
	return flags
}
