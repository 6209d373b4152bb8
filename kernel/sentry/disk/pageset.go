package disk

import "math/bits"

// pageSet is a set of a chunk's pages.
type pageSet uint32

// pagesFrom returns the set of pages from first up to but not including end.
func pagesFrom(first, end int) pageSet { return pageSet(uint64(1)<<end - uint64(1)<<first) }

// first returns the first page, chunkPages if there is none.
func (s pageSet) first() int { return bits.TrailingZeros32(uint32(s)) }

// end returns the page after the last, 0 if there is none.
func (s pageSet) end() int { return bits.Len32(uint32(s)) }

// count returns how many there are.
func (s pageSet) count() int { return bits.OnesCount32(uint32(s)) }

// firstRun returns the pages from the first on that follow each other.
func (s pageSet) firstRun() pageSet {
	if s == 0 {
		return 0
	}
	first := s.first()
	return pagesFrom(first, first+bits.TrailingZeros32(^uint32(s>>first)))
}
