package ext4

import (
	"encoding/binary"
	"hash/crc32"
	"sync"
)

var le = binary.LittleEndian

// castagnoli is made when it is first needed: that costs a boot under TCG
// milliseconds, and not every guest has a disk.
var castagnoli = sync.OnceValue(func() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) })

// crc32c continues a CRC-32C without the inversions at its ends, which ext4
// leaves out so that checksums can be chained.
func crc32c(crc uint32, p []byte) uint32 {
	return ^crc32.Update(^crc, castagnoli(), p)
}

func crc32cLE32(crc, v uint32) uint32 {
	return crc32c(crc, le.AppendUint32(nil, v))
}

var zero4 [4]byte

// crc16 continues a CRC-16 (polynomial 0xa001 reflected), the checksum of
// group descriptors before metadata_csum.
func crc16(crc uint16, p []byte) uint16 {
	for _, b := range p {
		crc ^= uint16(b)
		for range 8 {
			if crc&1 != 0 {
				crc = crc>>1 ^ 0xa001
			} else {
				crc >>= 1
			}
		}
	}
	return crc
}

// inodeSeed is what checksums of an inode's own structures start from.
func (f *FS) inodeSeed(ino, generation uint32) uint32 {
	return crc32cLE32(crc32cLE32(f.sb.csumSeed, ino), generation)
}

// inodeCsum returns the checksum of a raw inode; its own fields count as zero.
func inodeCsum(seed uint32, raw []byte) uint32 {
	c := crc32c(seed, raw[:inoCsumLo])
	c = crc32c(c, zero4[:2])
	c = crc32c(c, raw[inoCsumLo+2:min(128, len(raw))])
	if len(raw) <= 128 {
		return c
	}
	if !hasCsumHi(raw) {
		return crc32c(c, raw[128:])
	}
	c = crc32c(c, raw[128:inoCsumHi])
	c = crc32c(c, zero4[:2])
	return crc32c(c, raw[inoCsumHi+2:])
}

func hasCsumHi(raw []byte) bool {
	return len(raw) > 128 && le.Uint16(raw[inoExtraIsize:]) >= 4
}

// descCsum returns the checksum of group g's raw descriptor.
func (f *FS) descCsum(g uint32, raw []byte) uint16 {
	const at = 0x1e
	if f.sb.metaCsum() {
		c := crc32cLE32(f.sb.csumSeed, g)
		c = crc32c(c, raw[:at])
		c = crc32c(c, zero4[:2])
		return uint16(crc32c(c, raw[at+2:]))
	}
	c := crc16(0xffff, f.sb.uuid[:])
	c = crc16(c, le.AppendUint32(nil, g))
	c = crc16(c, raw[:at])
	if len(raw) > 32 {
		c = crc16(c, raw[at+2:])
	}
	return c
}

// extentTail returns where an extent block has its checksum, 0 if the header
// is not one.
func extentTail(d []byte) int {
	at := extHeaderLen + extEntryLen*int(le.Uint16(d[4:]))
	if at+4 > len(d) {
		return 0
	}
	return at
}

// dxTail returns where an index block has its checksum, and where its entries
// end. 0, 0 if its counts are impossible.
func dxTail(d []byte, countAt int) (tail, end int) {
	limit, count := int(le.Uint16(d[countAt:])), int(le.Uint16(d[countAt+2:]))
	tail, end = countAt+8*limit, countAt+8*count
	if count > limit || tail+8 > len(d) {
		return 0, 0
	}
	return tail, end
}

func dxCsum(seed uint32, d []byte, tail, end int) uint32 {
	c := crc32c(seed, d[:end])
	c = crc32c(c, d[tail:tail+4])
	return crc32c(c, zero4[:])
}

func (f *FS) xattrCsum(nr uint64, d []byte) uint32 {
	c := crc32c(f.sb.csumSeed, le.AppendUint64(nil, nr))
	c = crc32c(c, d[:0x10])
	c = crc32c(c, zero4[:])
	return crc32c(c, d[0x14:])
}

func orphanCsum(seed uint32, nr uint64, d []byte) uint32 {
	return crc32c(crc32c(seed, le.AppendUint64(nil, nr)), d[:len(d)-orphanTailLen])
}
