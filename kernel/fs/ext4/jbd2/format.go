// Package jbd2 is the journal of ext3 and ext4: a log of metadata blocks that
// makes transactions atomic.
//
// It follows Documentation/filesystems/ext4/journal.rst of the Linux sources.
// Numbers are big-endian. The log is a ring of blocks. A transaction is
// descriptor blocks, each followed by the blocks that its tags name; revoke
// blocks; and a commit block. All carry the transaction's sequence number, so
// that the log ends where the next number is missing.
//
// A Log holds the blocks of a transaction from Commit until Checkpoint has
// written them to their places; until then the file system finds them with
// Pending. The tail of the log moves only when everything before it is in its
// place and flushed.
//
// Context: ordinary goroutines. Commit is called by one at a time; all other
// methods may be called concurrently. Lock order: Log.checkpointing, Log.mu.
package jbd2

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"sync"
	"syscall"
)

var be = binary.BigEndian

const magic = 0xc03b3998

// Types of blocks.
const (
	typeDescriptor = 1
	typeCommit     = 2
	typeSuperV1    = 3
	typeSuperV2    = 4
	typeRevoke     = 5
)

// Every block of the journal's own begins with magic, type and sequence.
const headerLen = 12

// Fields of the superblock: offset in bytes.
const (
	sbBlockSize = 0x0c
	sbMaxLen    = 0x10 // blocks
	sbFirst     = 0x14 // first block of the log
	sbSequence  = 0x18 // of the transaction at the tail
	sbStart     = 0x1c // the tail; 0 if there is nothing to replay
	sbErrno     = 0x20
	sbCompat    = 0x24
	sbIncompat  = 0x28
	sbUUID      = 0x30
	sbCsumType  = 0x50
	sbCsum      = 0xfc
	sbLen       = 1024
)

// Features.
const (
	compatChecksum      = 0x01 // commit blocks have a CRC-32 of everything
	incompatRevoke      = 0x01
	incompat64Bit       = 0x02
	incompatAsyncCommit = 0x04
	incompatCsumV2      = 0x08
	incompatCsumV3      = 0x10
	incompatFastCommit  = 0x20

	incompatKnown = incompatRevoke | incompat64Bit | incompatAsyncCommit | incompatCsumV2 | incompatCsumV3
)

const csumTypeCRC32C = 4

// Flags of a tag.
const (
	tagEscape   = 1 // the block began with the magic, which is zeroed in the log
	tagSameUUID = 2
	tagLast     = 8
)

// minLog is the least length that a journal may have: blocks. e2fsprogs makes
// and checks the same.
const minLog = 1024

const commitCsum = 0x10 // offset of the checksum in a commit block

// castagnoli is made when it is first needed, see ext4's.
var castagnoli = sync.OnceValue(func() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) })

// crc32c continues a CRC-32C without the inversions at its ends.
func crc32c(crc uint32, p []byte) uint32 { return ^crc32.Update(^crc, castagnoli(), p) }

// csumWithout returns the checksum of d with the four bytes at off zero.
func csumWithout(seed uint32, d []byte, off int) uint32 {
	c := crc32c(seed, d[:off])
	c = crc32c(c, []byte{0, 0, 0, 0})
	return crc32c(c, d[off+4:])
}

// crc32be continues a CRC-32 with the most significant bit first, which
// compatChecksum uses.
func crc32be(crc uint32, p []byte) uint32 {
	for _, b := range p {
		crc = crc<<8 ^ beTable[byte(crc>>24)^b]
	}
	return crc
}

var beTable = func() (t [256]uint32) {
	for i := range t {
		c := uint32(i) << 24
		for range 8 {
			if c&(1<<31) != 0 {
				c = c<<1 ^ 0x04c11db7
			} else {
				c <<= 1
			}
		}
		t[i] = c
	}
	return t
}()

// features of a journal in use.
type features struct{ compat, incompat uint32 }

func (f features) csum() bool { return f.incompat&(incompatCsumV2|incompatCsumV3) != 0 }

// tagLen returns the length of a tag, not counting the UUID after some.
func (f features) tagLen() int {
	if f.incompat&incompatCsumV3 != 0 {
		return 16
	}
	n := 8
	if f.incompat&incompatCsumV2 != 0 {
		n += 2
	}
	if f.incompat&incompat64Bit != 0 {
		n += 4
	}
	return n
}

// tailLen returns the length of the checksum that ends descriptor and revoke
// blocks.
func (f features) tailLen() int {
	if f.csum() {
		return 4
	}
	return 0
}

// revokeLen returns the length of a block number in a revoke block.
func (f features) revokeLen() int {
	if f.incompat&incompat64Bit != 0 {
		return 8
	}
	return 4
}

// A tag says where a block of the log belongs.
type tag struct {
	nr    uint64
	flags uint32
	csum  uint32
}

func (f features) getTag(d []byte) tag {
	t := tag{nr: uint64(be.Uint32(d))}
	if f.incompat&incompatCsumV3 != 0 {
		t.flags, t.csum = be.Uint32(d[4:]), be.Uint32(d[12:])
		t.nr |= uint64(be.Uint32(d[8:])) << 32
		return t
	}
	t.csum, t.flags = uint32(be.Uint16(d[4:])), uint32(be.Uint16(d[6:]))
	if f.incompat&incompat64Bit != 0 {
		t.nr |= uint64(be.Uint32(d[8:])) << 32
	}
	return t
}

func (f features) putTag(d []byte, t tag) {
	be.PutUint32(d, uint32(t.nr))
	if f.incompat&incompatCsumV3 != 0 {
		be.PutUint32(d[4:], t.flags)
		be.PutUint32(d[8:], uint32(t.nr>>32))
		be.PutUint32(d[12:], t.csum)
		return
	}
	if f.incompat&incompatCsumV2 != 0 {
		be.PutUint16(d[4:], uint16(t.csum))
	}
	be.PutUint16(d[6:], uint16(t.flags))
	if f.incompat&incompat64Bit != 0 {
		be.PutUint32(d[8:], uint32(t.nr>>32))
	}
}

// blockCsum returns the checksum that the tag of a block in the log has.
func (l *Log) blockCsum(seq uint32, d []byte) uint32 {
	c := crc32c(crc32c(l.seed, be.AppendUint32(nil, seq)), d)
	if l.feat.incompat&incompatCsumV3 == 0 {
		c &= 0xffff
	}
	return c
}

func putHeader(d []byte, typ, seq uint32) {
	be.PutUint32(d, magic)
	be.PutUint32(d[4:], typ)
	be.PutUint32(d[8:], seq)
}

// damaged returns an EUCLEAN.
func damaged(format string, args ...any) error {
	return fmt.Errorf("journal: %s: %w", fmt.Sprintf(format, args...), syscall.EUCLEAN)
}
