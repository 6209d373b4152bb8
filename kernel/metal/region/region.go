// Package region keeps the map of the kernel program's address space: which
// ranges exist, and what a page fault in each may do. It is metal's answer to
// mmap, munmap and mprotect.
//
// Context: trap context; the caller holds metal's lock.
package region

// Protection bits, as in mmap(2). 0 is a reservation.
const (
	Read  = 1
	Write = 2
	Exec  = 4
)

// Region is a range of addresses with one protection.
type Region struct {
	Start, End uintptr // page aligned
	Prot       uint8
}

// Map is a sorted list of regions that do not overlap; adjacent ones with the
// same protection are one. The array is the caller's, so the map never
// allocates.
type Map struct {
	regions []Region
	n       int
}

// Init makes the map empty. Its capacity is len(array).
func (m *Map) Init(array []Region) { m.regions, m.n = array, 0 }

// Len returns the number of regions.
func (m *Map) Len() int { return m.n }

// At returns region i in address order.
func (m *Map) At(i int) Region { return m.regions[i] }

// Find returns the region that contains addr.
func (m *Map) Find(addr uintptr) (Region, bool) {
	i := m.search(addr)
	if i < m.n && m.regions[i].Start <= addr {
		return m.regions[i], true
	}
	return Region{}, false
}

// Covered reports whether every page from start to end is in some region.
func (m *Map) Covered(start, end uintptr) bool {
	for i := m.search(start); start < end; i++ {
		if i >= m.n || m.regions[i].Start > start {
			return false
		}
		start = m.regions[i].End
	}
	return true
}

// Overlaps reports whether a region has a page between start and end.
func (m *Map) Overlaps(start, end uintptr) bool {
	i := m.search(start)
	return i < m.n && m.regions[i].Start < end
}

// Gap returns the lowest multiple of align, a power of two, from where length
// bytes up to end at most are in no region, or 0. It does not look below start.
func (m *Map) Gap(start, end, align, length uintptr) uintptr {
	addr := (start + align - 1) &^ (align - 1)
	for i := m.search(start); ; i++ {
		limit := end
		if i < m.n {
			limit = min(end, m.regions[i].Start)
		}
		if addr <= limit && length <= limit-addr {
			return addr
		}
		if limit == end {
			return 0
		}
		addr = (m.regions[i].End + align - 1) &^ (align - 1)
	}
}

// Set makes start to end one region with protection prot, replacing what was
// there. It reports false, with nothing changed, if the array is full.
func (m *Map) Set(start, end uintptr, prot uint8) bool {
	if m.n+2 > len(m.regions) {
		return false
	}
	i := m.cut(start, end)
	// Join the neighbours where they touch with the same protection.
	if i > 0 && m.regions[i-1].End == start && m.regions[i-1].Prot == prot {
		i--
		start = m.regions[i].Start
		m.delete(i, i+1)
	}
	if i < m.n && m.regions[i].Start == end && m.regions[i].Prot == prot {
		end = m.regions[i].End
		m.delete(i, i+1)
	}
	m.insert(i, Region{start, end, prot})
	return true
}

// Remove takes start to end out of the map. It reports false, with nothing
// changed, if the array is full.
func (m *Map) Remove(start, end uintptr) bool {
	if m.n+1 > len(m.regions) {
		return false
	}
	m.cut(start, end)
	return true
}

// cut removes start to end and returns where a region there belongs. It needs
// room for one more region.
func (m *Map) cut(start, end uintptr) int {
	i := m.search(start)
	if i < m.n && m.regions[i].Start < start {
		r := m.regions[i]
		m.regions[i].End = start
		i++
		if r.End > end { // in the middle of r
			m.insert(i, Region{end, r.End, r.Prot})
			return i
		}
	}
	j := i
	for j < m.n && m.regions[j].End <= end {
		j++
	}
	if j < m.n && m.regions[j].Start < end {
		m.regions[j].Start = end
	}
	m.delete(i, j)
	return i
}

// search returns the index of the first region that ends after addr.
func (m *Map) search(addr uintptr) int {
	lo, hi := 0, m.n
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if m.regions[mid].End <= addr {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

func (m *Map) insert(i int, r Region) {
	for j := m.n; j > i; j-- {
		m.regions[j] = m.regions[j-1]
	}
	m.regions[i] = r
	m.n++
}

func (m *Map) delete(i, j int) {
	if i == j {
		return
	}
	for k := j; k < m.n; k++ {
		m.regions[k-(j-i)] = m.regions[k]
	}
	m.n -= j - i
}

// Moved tells the map that its array is now mapped elsewhere.
func (m *Map) Moved(array []Region) { m.regions = array }
