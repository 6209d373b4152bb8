package ext4

import (
	"fmt"
	"syscall"

	"kiln/kernel/fs"
	"kiln/kernel/fs/block"
)

const (
	superOff   = 1024 // bytes from the start of the device
	superLen   = 1024
	superMagic = 0xef53
)

// Fields of the superblock: offset in bytes.
const (
	sbInodes       = 0x00
	sbBlocksLo     = 0x04
	sbFreeBlocksLo = 0x0c
	sbFreeInodes   = 0x10
	sbMtime        = 0x2c
	sbWtime        = 0x30
	sbMntCount     = 0x34 // u16
	sbMagic        = 0x38 // u16
	sbState        = 0x3a // u16
	sbIncompat     = 0x60
	sbROCompat     = 0x64
	sbLastOrphan   = 0xe8
	sbFreeBlocksHi = 0x158
	sbErrorCount   = 0x194
	sbFirstErrTime = 0x198
	sbLastErrTime  = 0x1cc
	sbCsum         = 0x3fc
)

// s_state.
const (
	stateValid = 1 // unmounted cleanly
	stateError = 2
)

// Hash versions of directories; those from 3 on are the unsigned variants of
// 0 to 2 and only in memory.
const (
	hashLegacy  = 0
	hashHalfMD4 = 1
	hashTEA     = 2
)

// superblock is what does not change while mounted.
type superblock struct {
	inodes         uint32
	blocks         uint64
	reserved       uint64 // blocks for root
	firstData      uint32 // first block of group 0
	blockSize      int
	blocksPerGroup uint32
	inodesPerGroup uint32
	groups         uint32
	inodeSize      int
	firstIno       uint32 // first inode for files
	descSize       int
	descPerBlock   uint32
	reservedGDT    uint32 // blocks kept for growing the descriptors
	firstMetaBG    uint32
	backupBGs      [2]uint32
	logFlex        uint8

	compat, incompat, roCompat uint32

	// torn says that the checksum is wrong, but may be right after replay.
	torn bool

	uuid        [16]byte
	csumSeed    uint32
	hashSeed    [4]uint32
	hashVersion uint8
	unsigned    bool // hashes take characters as unsigned
	extraIsize  uint16
	journalIno  uint32
	orphanIno   uint32 // the orphan file, 0 if there is none
}

func (s *superblock) metaCsum() bool { return s.roCompat&roMetadataCsum != 0 }
func (s *superblock) descCsums() bool {
	return s.roCompat&(roMetadataCsum|roGdtCsum) != 0
}
func (s *superblock) extents() bool    { return s.incompat&incompatExtents != 0 }
func (s *superblock) dirIndex() bool   { return s.compat&compatDirIndex != 0 }
func (s *superblock) hasJournal() bool { return s.compat&compatHasJournal != 0 }

// Probe reports whether dev has an ext2, ext3 or ext4 file system.
func Probe(dev block.Device) bool {
	raw, err := readSuper(dev)
	return err == nil && le.Uint16(raw[sbMagic:]) == superMagic
}

// readSuper reads the raw superblock.
func readSuper(dev block.Device) ([]byte, error) {
	const span = 4096 // a multiple of any sector size
	if dev.Size() < span {
		return nil, fmt.Errorf("device of %d bytes: %w", dev.Size(), syscall.EINVAL)
	}
	buf := make([]byte, span)
	if err := dev.ReadAt(buf, 0); err != nil {
		return nil, fmt.Errorf("reading superblock: %w", err)
	}
	return buf[superOff : superOff+superLen], nil
}

// isTorn reports whether a raw superblock with a wrong checksum may be half of
// a write that the power cut: its two sectors are then of two versions. While
// the file system is mounted, the journal has a whole copy. The writes past
// the journal change nothing but the flag that says so: see FS.writeSuper.
func isTorn(raw []byte) bool {
	if le.Uint32(raw[0x5c:])&compatHasJournal == 0 {
		return false
	}
	incompat := le.Uint32(raw[sbIncompat:])
	if incompat&incompatRecover != 0 {
		return true
	}
	other := append([]byte(nil), raw[:sbCsum]...)
	le.PutUint32(other[sbIncompat:], incompat|incompatRecover)
	return le.Uint32(raw[sbCsum:]) == crc32c(^uint32(0), other)
}

// parseSuper checks a raw superblock of a device. mayBeTorn says that the
// journal has not been replayed yet.
func parseSuper(raw []byte, dev block.Device, mayBeTorn bool) (*superblock, error) {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("superblock: %s: %w", fmt.Sprintf(format, args...), fs.EUCLEAN)
	}
	u16 := func(off int) uint16 { return le.Uint16(raw[off:]) }
	u32 := func(off int) uint32 { return le.Uint32(raw[off:]) }
	if u16(sbMagic) != superMagic {
		return nil, fmt.Errorf("not an ext4 file system: magic %#x, want %#x: %w", u16(sbMagic), superMagic, syscall.EINVAL)
	}
	s := &superblock{
		inodes: u32(sbInodes), blocks: uint64(u32(sbBlocksLo)), reserved: uint64(u32(0x08)),
		firstData: u32(0x14), blocksPerGroup: u32(0x20), inodesPerGroup: u32(0x28),
		inodeSize: 128, firstIno: 11, descSize: 32,
		firstMetaBG: u32(0x104), logFlex: raw[0x174],
		backupBGs: [2]uint32{u32(0x24c), u32(0x250)},
	}
	if u32(0x4c) > 0 { // revision 1: the fields from 0x54 on count
		s.firstIno, s.inodeSize = u32(0x54), int(u16(0x58))
		s.compat, s.incompat, s.roCompat = u32(0x5c), u32(sbIncompat), u32(sbROCompat)
		s.reservedGDT = uint32(u16(0xce))
		s.journalIno = u32(0xe0)
	}
	if unknown := s.incompat &^ incompatKnown; unknown != 0 {
		return nil, fmt.Errorf("file system has features that Kiln does not know: %s: %w", featureList(unknown, incompatNames), syscall.EOPNOTSUPP)
	}
	copy(s.uuid[:], raw[0x68:])
	if s.metaCsum() {
		if raw[0x175] != 1 {
			return nil, bad("checksum type %d is not known", raw[0x175])
		}
		if got, want := u32(sbCsum), crc32c(^uint32(0), raw[:sbCsum]); got != want {
			if s.torn = mayBeTorn && isTorn(raw); !s.torn {
				return nil, bad("checksum %#x, computed %#x", got, want)
			}
		}
	}
	s.csumSeed = crc32c(^uint32(0), s.uuid[:])
	if s.incompat&incompatCsumSeed != 0 {
		s.csumSeed = u32(0x270)
	}
	for i := range s.hashSeed {
		s.hashSeed[i] = u32(0xec + 4*i)
	}
	s.hashVersion, s.unsigned = raw[0xfc], u32(0x160)&2 != 0
	if s.hashVersion > hashTEA {
		s.hashVersion = hashHalfMD4
	}
	if s.incompat&incompat64Bit != 0 {
		s.blocks |= uint64(u32(0x150)) << 32
		s.reserved |= uint64(u32(0x154)) << 32
		if s.descSize = int(u16(0xfe)); s.descSize < 64 || s.descSize > 1024 || s.descSize&(s.descSize-1) != 0 {
			return nil, bad("descriptors of %d bytes", s.descSize)
		}
	}
	if s.compat&compatOrphanFile != 0 {
		s.orphanIno = u32(0x280)
	}
	return s, s.checkGeometry(raw, dev, bad)
}

// checkGeometry checks sizes and counts, and computes those that follow.
func (s *superblock) checkGeometry(raw []byte, dev block.Device, bad func(string, ...any) error) error {
	log := le.Uint32(raw[0x18:])
	if log > 5 {
		return bad("blocks of 1024<<%d bytes", log)
	}
	s.blockSize = 1024 << log
	if s.blockSize < dev.SectorSize() {
		return fmt.Errorf("blocks of %d bytes on sectors of %d: %w", s.blockSize, dev.SectorSize(), syscall.EINVAL)
	}
	wantFirst := uint32(0)
	bits := uint32(8 * s.blockSize)
	perGroup := bits
	if s.roCompat&roBigalloc != 0 { // a bit stands for a cluster of blocks
		perGroup <<= min(le.Uint32(raw[0x1c:])-min(le.Uint32(raw[0x1c:]), log), 16)
	} else if s.blockSize == 1024 {
		wantFirst = 1
	}
	inodesPerBlock := uint32(s.blockSize / max(s.inodeSize, 1))
	switch {
	case s.inodeSize < 128 || s.inodeSize > s.blockSize || s.inodeSize&(s.inodeSize-1) != 0:
		return bad("inodes of %d bytes", s.inodeSize)
	case s.firstData != wantFirst:
		return bad("first block %d with blocks of %d bytes", s.firstData, s.blockSize)
	case s.blocksPerGroup == 0 || s.blocksPerGroup > perGroup || s.blocksPerGroup%8 != 0:
		return bad("%d blocks a group", s.blocksPerGroup)
	case s.inodesPerGroup < inodesPerBlock || s.inodesPerGroup > bits || s.inodesPerGroup%8 != 0:
		return bad("%d inodes a group", s.inodesPerGroup)
	case s.blocks <= uint64(s.firstData) || s.blocks > uint64(dev.Size())/uint64(s.blockSize):
		return bad("%d blocks of %d bytes on a device of %d bytes", s.blocks, s.blockSize, dev.Size())
	case s.firstIno < 11 || s.firstIno > s.inodesPerGroup:
		return bad("first inode %d", s.firstIno)
	}
	groups := (s.blocks - uint64(s.firstData) + uint64(s.blocksPerGroup) - 1) / uint64(s.blocksPerGroup)
	if groups*uint64(s.inodesPerGroup) != uint64(s.inodes) {
		return bad("%d inodes, but %d groups of %d", s.inodes, groups, s.inodesPerGroup)
	}
	s.groups = uint32(groups)
	s.descPerBlock = uint32(s.blockSize / s.descSize)
	if s.logFlex > 31 {
		s.logFlex = 0
	}
	if s.inodeSize > 128 {
		s.extraIsize = min(max(le.Uint16(raw[0x15e:]), 28), uint16(s.inodeSize-128))
		if s.extraIsize%4 != 0 {
			s.extraIsize = 28
		}
	}
	if gdt := (s.groups + s.descPerBlock - 1) / s.descPerBlock; s.firstMetaBG > gdt {
		s.firstMetaBG = gdt
	}
	return nil
}
