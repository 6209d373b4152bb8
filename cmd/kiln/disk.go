package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/pflag"

	"kiln/bake/bootdisk"
	"kiln/image"
	"kiln/run"
	"kiln/run/libvirt"
	"kiln/run/qemu"
	"kiln/run/volume"
)

const diskUsage = "-o FILE [FLAGS] IMAGE [[--] ARGUMENT…]"

var diskCommand = command{
	name:  "disk",
	usage: diskUsage,
	short: "make a bootable disk of an image, for clouds and libvirt",
	long: `
Makes a disk image that boots IMAGE by itself, on a machine with a BIOS as on one
with UEFI (without Secure Boot). IMAGE is what kiln run takes, and so are the
flags of the same names. Firmware and GRUB take about 128 MB of memory
more than kiln run does.

The disk has a GUID partition table, with GRUB, an EFI system partition, and with
--data a partition with an empty ext4. What --size leaves stays free.

--format is raw; qcow2; vmdk, a compressed stream as clouds import it; or vhd, of
a fixed size. The firmware reads the disk, so to boot it may be of any make; a
program finds its data on a virtio disk only.

Unless -I or -W or the image say otherwise, the network asks for its address.`,
	flags:   diskFlags,
	argsEnd: true,
}

// diskFlags adds the flags of kiln disk.
func diskFlags(fs *pflag.FlagSet) action {
	d := &diskMaker{}
	o := &d.options
	fs.StringVarP(&d.disk.Output, "output", "o", "", "the disk image to make: `FILE`")
	fs.StringVar(&d.disk.Format, "format", "raw", "its format: "+strings.Join(bootdisk.Formats(), ", "))
	fs.StringVar(&d.size, "size", "", "its `SIZE`, with M, G or T behind it (default: as small as it gets, with 1G for --data)")
	fs.StringVar(&d.data, "data", "", "mount a partition that keeps data, the rest of the disk, at `/MOUNTPOINT`")
	fs.BoolVar(&d.libvirt, "libvirt-xml", false, "print XML for virsh define, of a machine with this disk")
	fs.StringVar(&o.Accel, "accel", "", "with --libvirt-xml, the machine's accelerator: kvm, qemu or auto (default auto)")
	fs.VarP((*megabytes)(&o.Memory), "memory", "M", "with --libvirt-xml, the machine's memory (default: what the image needs)")
	fs.StringArrayVarP(&o.Env, "env", "e", nil, "set a variable of the program's environment, `KEY=VALUE`")
	fs.StringArrayVarP(&o.Network.Interfaces, "interface", "I", nil, "network interface, `NAME,vioif`")
	fs.StringArrayVarP(&o.Network.Addresses, "address", "W", nil, "its configuration, as for kiln run: `NAME,inet,…`")
	fs.StringVar(&o.Hostname, "hostname", "", "host name of the machine")
	fs.StringVar(&o.Cwd, "cwd", "", "the program's working directory")
	return d.run
}

// diskMaker is one call of kiln disk.
type diskMaker struct {
	options    run.Options
	disk       bootdisk.Options
	size, data string
	libvirt    bool
}

func (d *diskMaker) run(a *app, args []string, _ int) (int, error) {
	if len(args) == 0 {
		return 0, usageError{"no image is named", "kiln disk " + diskUsage}
	}
	if d.disk.Output == "" {
		return 0, usageError{"where to make the disk is missing", "-o FILE"}
	}
	if d.size != "" {
		size, err := volume.ParseSize(d.size)
		if err != nil || size <= 0 {
			return 0, usageError{fmt.Sprintf("--size %s: not a size", d.size), "such as 10G"}
		}
		d.disk.Size = size
	}
	if d.data != "" && (!strings.HasPrefix(d.data, "/") || filepath.Clean(d.data) == "/") {
		return 0, usageError{fmt.Sprintf("--data %s: not a mount point", d.data), "such as /data"}
	}
	o := d.options
	o.Image, o.Args = args[0], args[1:]
	if len(o.Args) > 0 && o.Args[0] == "--" {
		o.Args = o.Args[1:]
	}
	o, done, err := a.openChecked(o, "", "")
	if err != nil {
		return exitFailure, err
	}
	defer done()
	if d.data != "" {
		d.disk.DataGUID = uuid.NewString()
		o.Mounts = append(o.Mounts, image.Mount{Device: image.PartUUID + d.disk.DataGUID, Path: filepath.Clean(d.data), Source: "the data partition"})
	}
	if len(o.Network.Interfaces) == 0 && len(o.Network.Addresses) == 0 && len(o.Manifest.Network) == 0 {
		o.Network.Interfaces = []string{"if,vioif"}
	}
	d.disk.Image = o.Image
	if d.disk.Config, err = run.Standalone(o); err != nil {
		return 0, err
	}
	text := ""
	if d.libvirt {
		if text, err = d.domain(o); err != nil {
			return 0, err
		}
	}
	err = bootdisk.Write(d.disk)
	if e, ok := errors.AsType[*bootdisk.Error](err); ok {
		return 0, usageError{e.Msg, e.Hint}
	}
	if err != nil {
		return exitFailure, err
	}
	_, err = io.WriteString(a.stdout, text)
	return 0, err
}

// defaultDomainMemory is what UEFI and GRUB want beside the image, in MB.
const defaultDomainMemory = 128

// domain returns libvirt's XML for a machine with the disk.
func (d *diskMaker) domain(o run.Options) (string, error) {
	accel, err := run.Accelerator(o.Accel)
	if err != nil {
		return "", err
	}
	path, err := filepath.Abs(d.disk.Output)
	if err != nil {
		return "", err
	}
	m := libvirt.Machine{
		Name: strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)), Disk: path, KVM: accel == qemu.KVM,
		Format: bootdisk.QEMUFormat(d.disk.Format), Memory: o.Memory,
	}
	if m.Memory == 0 {
		m.Memory = max(o.Manifest.Memory, run.DefaultMemory, image.LeastMemory(o.ImageEnd)) + defaultDomainMemory
	}
	return m.XML()
}
