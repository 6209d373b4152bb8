package bootdisk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/diskfs/go-diskfs/backend/file"
	"github.com/diskfs/go-diskfs/filesystem/fat32"
	"github.com/diskfs/go-diskfs/partition/gpt"
)

func TestLayOut(t *testing.T) {
	for _, tt := range []struct {
		image, size int64
		data        bool
		esp, rest   int64 // MB; rest: the data partition
		disk        int64
		fails       bool
	}{
		{22 * mega, 0, false, 48, 0, 51, false},
		{1, 0, false, 48, 0, 51, false},
		{320 * mega, 0, false, 334, 0, 337, false},
		{22 * mega, 0, true, 48, 1024, 1075, false},
		{22 * mega, 10 << 30, true, 48, 10<<10 - 51, 10 << 10, false},
		{22 * mega, 10<<30 + 5, false, 48, 0, 10 << 10, false},
		{22 * mega, 50 * mega, false, 0, 0, 0, true},
		{22 * mega, 55 * mega, true, 0, 0, 0, true},
		{22 * mega, 17 << 40, false, 0, 0, 0, true},
		{3 << 30, 0, false, 0, 0, 0, true},
	} {
		l, err := layOut(tt.image, tt.size, tt.data)
		if (err != nil) != tt.fails {
			t.Errorf("layOut(%d, %d, %v): %v", tt.image, tt.size, tt.data, err)
		}
		if e, ok := errors.AsType[*Error](err); err != nil && (!ok || e.Hint == "") {
			t.Errorf("layOut(%d, %d, %v): %v, want an Error with a hint", tt.image, tt.size, tt.data, err)
		}
		if tt.fails {
			continue
		}
		if l.esp.size != tt.esp*mega || l.data.size != tt.rest*mega || l.size != tt.disk*mega {
			t.Errorf("layOut(%d, %d, %v): ESP %d, data %d, disk %d bytes; want %d, %d, %d MB", tt.image, tt.size, tt.data,
				l.esp.size, l.data.size, l.size, tt.esp, tt.rest, tt.disk)
		}
	}
}

// TestEmbed follows the numbers of sectors as the BIOS and GRUB do.
func TestEmbed(t *testing.T) {
	g := grub{boot: bytes.Repeat([]byte{0xb0}, sector), core: bytes.Repeat([]byte{0xc0}, 5*sector+9)}
	disk, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	if err := g.embed(disk, extent{mega, biosSize}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(disk.Name())
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	first := le.Uint64(b[bootNext:])
	if first != mega/sector || b[first*sector] != 0xc0 {
		t.Errorf("the boot sector leads to sector %d", first)
	}
	if b[bootCode] != 0 {
		t.Error("the partition table's place is overwritten")
	}
	core := b[first*sector:]
	if next, n := le.Uint64(core[coreBlocks:]), le.Uint16(core[coreBlocks+8:]); next != first+1 || n != 5 {
		t.Errorf("the rest is %d sectors from %d on, want 5 from %d", n, next, first+1)
	}
	g.core = make([]byte, biosSize+1)
	if err := g.embed(disk, extent{mega, biosSize}); err == nil {
		t.Error("a GRUB larger than its partition is taken")
	}
}

// TestWrite makes a disk and reads it with what other programs would.
func TestWrite(t *testing.T) {
	if _, err := makeGRUB(); err != nil {
		t.Skipf("%v (packages %s)", err, grubPackages)
	}
	dir := t.TempDir()
	image := bytes.Repeat([]byte("kiln"), 3<<20)
	path := filepath.Join(dir, "image")
	if err := os.WriteFile(path, image, 0o644); err != nil {
		t.Fatal(err)
	}
	const guid = "01234567-89AB-CDEF-0123-456789ABCDEF"
	o := Options{Image: path, Config: []byte("{}"), Output: filepath.Join(dir, "out"), Format: "raw", Size: 100 * mega, DataGUID: guid}
	if err := Write(o); err != nil {
		t.Fatal(err)
	}
	disk, err := file.OpenFromPath(o.Output, true)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	table, err := gpt.Read(disk, sector, sector)
	if err != nil || table.Verify(disk, 100*mega) != nil || table.RecoveredFromBackup {
		t.Fatalf("%v, %v, recovered %v", err, table.Verify(disk, 100*mega), table.RecoveredFromBackup)
	}
	var kinds []gpt.Type
	for _, p := range table.Partitions {
		kinds = append(kinds, p.Type)
	}
	if len(kinds) != 3 || kinds[0] != gpt.BIOSBoot || kinds[1] != gpt.EFISystemPartition || kinds[2] != gpt.LinuxFilesystem || table.Partitions[2].GUID != guid {
		t.Errorf("partitions %v, the data's GUID %s", kinds, table.Partitions[2].GUID)
	}
	esp := table.Partitions[1]
	f, err := fat32.Read(disk, int64(esp.Size), int64(esp.Start)*sector, sector)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]byte{imagePath: image, configPath: o.Config} {
		if got, err := f.ReadFile(strings.TrimPrefix(name, "/")); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v, want %d", name, len(got), err, len(want))
		}
	}
	// Magic of an ext4 (kernel.org, ext4 disk layout).
	magic := make([]byte, 2)
	if _, err := disk.ReadAt(magic, int64(table.Partitions[2].Start)*sector+1024+0x38); err != nil || !bytes.Equal(magic, []byte{0x53, 0xef}) {
		t.Errorf("the data partition has %x where an ext4 has 53ef, %v", magic, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); left != nil {
		t.Errorf("left behind: %q", left)
	}
}

func TestWriteErrors(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "image")
	if err := os.WriteFile(path, []byte("kiln"), 0o644); err != nil {
		t.Fatal(err)
	}
	good := Options{Image: path, Output: filepath.Join(dir, "out"), Format: "vmdk"}
	t.Setenv("PATH", dir)
	for name, tt := range map[string]struct {
		spoil func(*Options)
		want  string
	}{
		"format": {func(o *Options) { o.Format = "vdi" }, "vdi"},
		"exists": {func(o *Options) { o.Output = path }, "exists"},
		"small":  {func(o *Options) { o.Size = mega }, "too small"},
		"tools":  {func(o *Options) {}, "grub-"},
	} {
		o := good
		tt.spoil(&o)
		err := Write(o)
		if e, ok := errors.AsType[*Error](err); !ok || !strings.Contains(e.Msg+e.Hint, tt.want) || e.Hint == "" {
			t.Errorf("%s: %v, want an Error with %q and a hint", name, err, tt.want)
		}
	}
	if all, _ := filepath.Glob(filepath.Join(dir, "*")); len(all) != 1 {
		t.Errorf("files %q, want the image alone", all)
	}
}
