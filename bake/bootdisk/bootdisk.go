// Package bootdisk makes a disk image that boots a Kiln image by itself, on a
// machine with BIOS firmware as on one with UEFI: what clouds and libvirt import.
//
// The disk has a GUID partition table (UEFI 2.10 §5) with up to three partitions:
//
//	1  BIOS boot         GRUB for BIOS machines, which the boot sector loads
//	2  EFI system, FAT32 GRUB for UEFI, the Kiln image, its run configuration
//	3  data, ext4        if it is asked for
//
// GRUB's grub-mkimage makes both GRUBs, mke2fs the data's file system, and
// qemu-img other formats than raw.
package bootdisk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/diskfs/go-diskfs/backend"
	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/fat32"
	"github.com/diskfs/go-diskfs/partition/gpt"
)

// An Error says why there is no disk image.
type Error struct {
	Msg  string
	Hint string // "" if there is nothing to say
}

// Error implements error.
func (e *Error) Error() string { return e.Msg }

// Options say what disk to make.
type Options struct {
	Image  string // path of the Kiln image
	Config []byte // its run configuration, JSON
	Output string // path; nothing may be there
	Format string // one of Formats
	Size   int64  // bytes, 0 for the least

	// DataGUID is the GUID of a partition with an empty ext4 that takes what
	// the others leave; "" for none. The rest of the disk is then free.
	DataGUID string
}

// Sizes in bytes.
const (
	sector = 512
	mega   = 1 << 20

	// biosSize is room for GRUB, with which it may use compression or not.
	biosSize = mega
	// minESP makes a FAT32, for which there must be 65,525 clusters at least
	// (Microsoft, FAT specification 1.03, p. 14); slack is for its tables, GRUB
	// and names.
	minESP, slack = 48 * mega, 4 * mega
	maxESP        = 2 << 30
	// minData is what an ext4 with a journal takes, and data the partition's
	// size if none is asked for.
	minData, defaultData = 8 * mega, 1 << 30
	maxSize              = 16 << 40
)

// layout is where the partitions lie, in bytes. A size of 0 means that there is
// none.
type layout struct {
	bios, esp, data extent
	size            int64 // of the disk
}

type extent struct{ start, size int64 }

// layOut plans a disk for an image of the given size. All begins at multiples of
// 1 MB, as partitioning programs have it, and so does the end: some clouds take no
// other sizes.
func layOut(image, size int64, data bool) (layout, error) {
	up := func(n int64) int64 { return (n + mega - 1) &^ (mega - 1) }
	l := layout{bios: extent{mega, biosSize}}
	// A FAT of clusters of 512 bytes, twice, takes a 64th.
	l.esp = extent{l.bios.start + l.bios.size, max(minESP, up(image+image/32+slack))}
	if l.esp.size > maxESP {
		return l, &Error{fmt.Sprintf("an image of %d MB is too large for a boot disk", image/mega), "put data on a disk of its own (kiln bake without it, -b)"}
	}
	end := l.esp.start + l.esp.size
	least := end + mega // the second partition table is at the end
	if data {
		least += minData
	}
	switch {
	case size == 0 && data:
		l.size = end + defaultData + mega
	case size == 0:
		l.size = least
	default:
		l.size = size &^ (mega - 1)
	}
	if l.size < least || l.size > maxSize {
		return l, &Error{fmt.Sprintf("a disk of %d MB is too small or too large for this image", size/mega), fmt.Sprintf("it may have %dM to 16T", least/mega)}
	}
	if data {
		l.data = extent{end, l.size - mega - end}
	}
	return l, nil
}

// Write makes the disk. Nothing is left of one that fails.
func Write(o Options) (err error) {
	if !slices.Contains(Formats(), o.Format) {
		return &Error{fmt.Sprintf("there is no disk format %q", o.Format), "there are " + formatNames()}
	}
	if _, err := os.Lstat(o.Output); err == nil {
		return exists(o.Output)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	image, err := os.Stat(o.Image)
	if err != nil {
		return err
	}
	l, err := layOut(image.Size(), o.Size, o.DataGUID != "")
	if err != nil {
		return err
	}
	g, err := makeGRUB()
	if err != nil {
		return err
	}
	// The disk comes to be beside its place, so that renaming it is enough.
	dir, err := os.MkdirTemp(filepath.Dir(o.Output), ".kiln-disk-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	raw := filepath.Join(dir, "raw")
	if err := o.writeRaw(raw, l, g); err != nil {
		return err
	}
	if l.data.size > 0 {
		if err := makeExt4(raw, l.data); err != nil {
			return err
		}
	}
	made, err := convert(raw, o.Format)
	if err != nil {
		return err
	}
	// Link, unlike rename, leaves alone what has come there meanwhile.
	if err := os.Link(made, o.Output); errors.Is(err, fs.ErrExist) {
		return exists(o.Output)
	} else if err == nil {
		return nil
	}
	return os.Rename(made, o.Output) // a file system without links
}

func exists(path string) error {
	return &Error{path + " exists already", "choose another name: -o FILE"}
}

// writeRaw makes the disk but for the data's file system.
func (o Options) writeRaw(path string, l layout, g grub) (err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.Truncate(l.size); err != nil {
		return err
	}
	if err := g.embed(f, l.bios); err != nil {
		return err
	}
	disk := file.New(f, false)
	if err := o.writeTable(disk, l); err != nil {
		return err
	}
	return o.writeESP(disk, l.esp, g)
}

// writeTable writes the partition table.
func (o Options) writeTable(disk backend.Storage, l layout) error {
	w, err := disk.Writable()
	if err != nil {
		return err
	}
	t := gpt.Table{LogicalSectorSize: sector, PhysicalSectorSize: sector, ProtectiveMBR: true}
	for i, p := range []struct {
		extent
		kind       gpt.Type
		name, guid string
	}{
		{l.bios, gpt.BIOSBoot, "bios", ""},
		{l.esp, gpt.EFISystemPartition, "efi", ""},
		{l.data, gpt.LinuxFilesystem, "data", o.DataGUID},
	} {
		if p.size > 0 {
			t.Partitions = append(t.Partitions, &gpt.Partition{
				Index: i + 1, Start: uint64(p.start / sector), End: uint64((p.start+p.size)/sector - 1),
				Size: uint64(p.size), Type: p.kind, Name: p.name, GUID: p.guid,
			})
		}
	}
	return t.Write(w, l.size)
}

// Where files lie in the EFI system partition. The firmware looks for the first
// (UEFI 2.10 §3.5.1.1), the commands of GRUB for the others.
const (
	efiPath    = "/EFI/BOOT/BOOTX64.EFI"
	imagePath  = "/boot/kiln.img"
	configPath = "/boot/runconfig.json"
)

// writeESP makes the EFI system partition's file system and files.
func (o Options) writeESP(disk backend.Storage, at extent, g grub) error {
	f, err := fat32.Create(disk, at.size, at.start, sector, "KILN", false)
	if err != nil {
		return fmt.Errorf("EFI system partition: %w", err)
	}
	image, err := os.Open(o.Image)
	if err != nil {
		return err
	}
	defer image.Close()
	for _, dir := range []string{"/EFI", "/EFI/BOOT", "/boot"} {
		if err := f.Mkdir(dir); err != nil {
			return fmt.Errorf("EFI system partition: %s: %w", dir, err)
		}
	}
	for _, c := range []struct {
		path    string
		content io.Reader
	}{
		{efiPath, bytes.NewReader(g.efi)},
		{configPath, bytes.NewReader(o.Config)},
		{imagePath, image},
	} {
		w, err := f.OpenFile(c.path, os.O_CREATE|os.O_RDWR)
		if err == nil {
			_, err = io.CopyBuffer(writerOnly{w}, c.content, make([]byte, 4<<20))
			err = errors.Join(err, w.Close())
		}
		if err != nil {
			return fmt.Errorf("EFI system partition: %s: %w", c.path, err)
		}
	}
	return f.Close()
}

// writerOnly hides other methods, so that a copy has large pieces.
type writerOnly struct{ io.Writer }
