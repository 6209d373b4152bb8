package erofs

import (
	"encoding/binary"
	"sort"
)

// File types in directory entries.
const (
	typeRegular = 1
	typeDir     = 2
	typeSymlink = 7
)

// A dirent is an entry of a directory: a name, and whose it is.
type dirent struct {
	name string
	node *node
}

// dirents returns a directory's entries with dot and dot-dot, in the byte
// order of their names, which lookups rely on.
func dirents(dir *node) []dirent {
	all := []dirent{{".", dir}, {"..", dir.parent}}
	for _, c := range dir.children {
		all = append(all, dirent{c.name, c.inode()})
	}
	sort.Slice(all, func(i, j int) bool { return all[i].name < all[j].name })
	return all
}

// blocks cuts entries into what fits a block each: all entries' heads, then
// all their names.
func blocks(all []dirent) [][]dirent {
	var out [][]dirent
	start, used := 0, 0
	for i, d := range all {
		need := direntSize + len(d.name)
		if used+need > BlockSize {
			out = append(out, all[start:i])
			start, used = i, 0
		}
		used += need
	}
	return append(out, all[start:])
}

// direntBytes returns the size of a directory's data: whole blocks, but the
// last ends with its last name.
func direntBytes(dir *node) int64 {
	bs := blocks(dirents(dir))
	size := int64(len(bs)-1) * BlockSize
	for _, d := range bs[len(bs)-1] {
		size += int64(direntSize + len(d.name))
	}
	return size
}

// direntData returns a directory's data. All inodes must have their places.
func direntData(dir *node) []byte {
	var out []byte
	for _, block := range blocks(dirents(dir)) {
		out = append(out, make([]byte, roundUp(int64(len(out)), BlockSize)-int64(len(out)))...)
		name := len(block) * direntSize // offset in the block
		for _, d := range block {
			out = binary.LittleEndian.AppendUint64(out, d.node.nid)
			out = binary.LittleEndian.AppendUint16(out, uint16(name))
			out = append(out, d.node.fileType(), 0)
			name += len(d.name)
		}
		for _, d := range block {
			out = append(out, d.name...)
		}
	}
	return out
}

func (n *node) fileType() uint8 {
	switch n.mode & modeType {
	case modeDir:
		return typeDir
	case modeSymlink:
		return typeSymlink
	default:
		return typeRegular
	}
}
