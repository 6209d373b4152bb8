package ext4

import (
	"fmt"
	"strings"
)

// Compatible features: one who does not know them may read and write.
const (
	compatHasJournal   = 0x0004
	compatExtAttr      = 0x0008
	compatResizeInode  = 0x0010
	compatDirIndex     = 0x0020
	compatSparseSuper2 = 0x0200
	compatOrphanFile   = 0x1000
)

// Incompatible features: one who does not know them must not mount.
const (
	incompatFiletype = 0x0002
	incompatRecover  = 0x0004 // the journal has to be replayed
	incompatMetaBG   = 0x0010
	incompatExtents  = 0x0040
	incompat64Bit    = 0x0080
	incompatFlexBG   = 0x0200
	incompatCsumSeed = 0x2000
	incompatLargeDir = 0x4000

	incompatKnown = incompatFiletype | incompatRecover | incompatMetaBG | incompatExtents |
		incompat64Bit | incompatFlexBG | incompatCsumSeed | incompatLargeDir
)

// Read-only-compatible features: one who does not know them may only read.
const (
	roSparseSuper   = 0x00001
	roLargeFile     = 0x00002
	roBtreeDir      = 0x00004 // never used
	roHugeFile      = 0x00008
	roGdtCsum       = 0x00010
	roDirNlink      = 0x00020
	roExtraIsize    = 0x00040
	roBigalloc      = 0x00200 // only read
	roMetadataCsum  = 0x00400
	roOrphanPresent = 0x10000

	roKnown = roSparseSuper | roLargeFile | roBtreeDir | roHugeFile | roGdtCsum |
		roDirNlink | roExtraIsize | roMetadataCsum | roOrphanPresent
)

var incompatNames = map[uint32]string{
	0x1: "compression", 0x2: "filetype", 0x4: "needs_recovery", 0x8: "journal_dev", 0x10: "meta_bg",
	0x40: "extent", 0x80: "64bit", 0x100: "mmp", 0x200: "flex_bg", 0x400: "ea_inode", 0x1000: "dirdata",
	0x2000: "metadata_csum_seed", 0x4000: "large_dir", 0x8000: "inline_data", 0x10000: "encrypt",
	0x20000: "casefold",
}

var roNames = map[uint32]string{
	0x1: "sparse_super", 0x2: "large_file", 0x4: "btree_dir", 0x8: "huge_file", 0x10: "uninit_bg",
	0x20: "dir_nlink", 0x40: "extra_isize", 0x80: "snapshot", 0x100: "quota", 0x200: "bigalloc",
	0x400: "metadata_csum", 0x800: "replica", 0x1000: "read-only", 0x2000: "project",
	0x4000: "shared_blocks", 0x8000: "verity", 0x10000: "orphan_present",
}

// featureList names the features in bits, as dumpe2fs does where it knows them.
func featureList(bits uint32, names map[uint32]string) string {
	var list []string
	for bit := uint32(1); bit != 0; bit <<= 1 {
		if bits&bit == 0 {
			continue
		}
		name, ok := names[bit]
		if !ok {
			name = fmt.Sprintf("%#x", bit)
		}
		list = append(list, name)
	}
	return strings.Join(list, ", ")
}
