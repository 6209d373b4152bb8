package partition

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"syscall"
	"testing"

	"kiln/kernel/fs/block/blocktest"
)

const guidText = "0123abcd-4567-89ef-0011-223344556677"

// diskGUID is guidText as a table has it.
var diskGUID = []byte{0xcd, 0xab, 0x23, 0x01, 0x67, 0x45, 0xef, 0x89, 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77}

// makeDisk returns a disk of 1 MB with a table, at both ends, that has the second
// and fifth partition.
func makeDisk(t testing.TB, sector int) *blocktest.Memory {
	t.Helper()
	const size = 1 << 20
	d := blocktest.NewMemory(size, sector)
	n := uint64(size / sector)
	le := binary.LittleEndian
	entries := make([]byte, 128*128)
	for i, r := range map[int][2]uint64{1: {40, 47}, 4: {100, 199}} {
		e := entries[128*i:]
		e[0] = 0xaf
		copy(e[16:], diskGUID)
		if sector == 4096 {
			r[0], r[1] = r[0]/8+10, r[1]/8+10
		}
		le.PutUint64(e[32:], r[0])
		le.PutUint64(e[40:], r[1])
	}
	array := uint64(len(entries) / sector)
	for _, at := range [][2]uint64{{1, 2}, {n - 1, n - 1 - array}} {
		h := make([]byte, sector)
		copy(h, signature)
		le.PutUint32(h[12:], 92)
		le.PutUint64(h[24:], at[0])
		le.PutUint64(h[40:], 2+array)
		le.PutUint64(h[48:], n-2-array)
		le.PutUint64(h[72:], at[1])
		le.PutUint32(h[80:], 128)
		le.PutUint32(h[84:], 128)
		le.PutUint32(h[88:], crc32.ChecksumIEEE(entries))
		le.PutUint32(h[16:], crc32.ChecksumIEEE(h[:92]))
		if err := errors.Join(d.WriteAt(h, int64(at[0])*int64(sector)), d.WriteAt(entries, int64(at[1])*int64(sector))); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func TestRead(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		d := makeDisk(t, sector)
		parts, err := Read(d)
		if err != nil || len(parts) != 2 {
			t.Fatalf("sectors of %d: %v, %v, want two partitions", sector, parts, err)
		}
		p := parts[0]
		if p.Number != 2 || parts[1].Number != 5 || p.GUID != guidText {
			t.Errorf("partitions %d %s and %d, want 2 %s and 5", p.Number, p.GUID, parts[1].Number, guidText)
		}
		// What is written to it is where it lies, and nowhere else.
		b := bytes.Repeat([]byte{7}, sector)
		if err := p.WriteAt(b, p.Size()-int64(sector)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 3*sector)
		if err := d.ReadAt(got, p.start+p.size-2*int64(sector)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got[sector:2*sector], b) || got[0] != 0 || got[2*sector] != 0 {
			t.Error("the partition's last sector is elsewhere on the disk")
		}
		for _, r := range [][2]int64{{p.Size(), int64(sector)}, {-int64(sector), int64(sector)}, {0, p.Size() + int64(sector)}} {
			if err := p.Discard(r[0], r[1]); !errors.Is(err, syscall.EINVAL) {
				t.Errorf("discarding %#x+%#x: %v, want EINVAL", r[0], r[1], err)
			}
			if err := p.WriteAt(make([]byte, r[1]), r[0]); !errors.Is(err, syscall.EINVAL) {
				t.Errorf("writing %#x+%#x: %v, want EINVAL", r[0], r[1], err)
			}
		}
	}
}

// TestNone: most disks have no table.
func TestNone(t *testing.T) {
	for _, size := range []int64{0, 512, 1024, 1 << 20} {
		if parts, err := Read(blocktest.NewMemory(size, 512)); err != nil || parts != nil {
			t.Errorf("a disk of %d zeros: %v, %v", size, parts, err)
		}
	}
}

// TestDamaged: the copy helps, as long as it is whole itself.
func TestDamaged(t *testing.T) {
	for name, at := range map[string]int64{"size": 512 + 12, "checksum": 512 + 16, "place": 512 + 24, "entry": 1024 + 128 + 32, "entries' number": 512 + 80} {
		d := makeDisk(t, 512)
		spoil(t, d, at)
		if parts, err := Read(d); err != nil || len(parts) != 2 {
			t.Errorf("%s: %v, %v, want the copy's partitions", name, parts, err)
		}
		spoil(t, d, 1<<20-512+24)
		if parts, err := Read(d); err == nil {
			t.Errorf("%s, and the copy: %v, want an error", name, parts)
		}
	}
}

// spoil changes a byte.
func spoil(t *testing.T, d *blocktest.Memory, at int64) {
	b := make([]byte, 512)
	if err := d.ReadAt(b, at&^511); err != nil {
		t.Fatal(err)
	}
	b[at&511] ^= 0xff
	if err := d.WriteAt(b, at&^511); err != nil {
		t.Fatal(err)
	}
}

// FuzzRead: whatever a table says, with checksums that fit, its partitions lie on
// the disk.
func FuzzRead(f *testing.F) {
	d := makeDisk(f, 512)
	b := make([]byte, 34*512)
	if err := d.ReadAt(b, 0); err != nil {
		f.Fatal(err)
	}
	f.Add(b[512:604], b[1024:])
	f.Fuzz(func(t *testing.T, header, entries []byte) {
		d := blocktest.NewMemory(1<<20, 512)
		h := make([]byte, 512)
		copy(h, header)
		copy(h, signature)
		le := binary.LittleEndian
		le.PutUint64(h[24:], 1)
		array := make([]byte, min(len(entries), 64<<10)&^511+512)
		copy(array, entries)
		if n := uint64(le.Uint32(h[80:])) * uint64(le.Uint32(h[84:])); n <= uint64(len(array)) {
			le.PutUint32(h[88:], crc32.ChecksumIEEE(array[:n]))
		}
		clear(h[16:20])
		le.PutUint32(h[16:], crc32.ChecksumIEEE(h[:min(le.Uint32(h[12:]), 512)]))
		if err := errors.Join(d.WriteAt(h, 512), d.WriteAt(array, 1024)); err != nil {
			t.Fatal(err)
		}
		parts, err := Read(d)
		if err != nil {
			return
		}
		for _, p := range parts {
			if p.start < 0 || p.size <= 0 || p.start+p.size > d.Size() {
				t.Errorf("partition %d at %#x of %#x bytes", p.Number, p.start, p.size)
			}
		}
	})
}
