package iso9660

import "encoding/binary"

// Bounds on continuation areas (SUSP 1.12 §5.1). One record of a real image
// has two or three of less than a block.
const (
	maxContinuations    = 64
	maxContinuationSize = 16 * sectorSize // bytes
)

// suspHeader is the size of an entry's signature, length and version.
const suspHeader = 4

// entry is a system use entry, SUSP 1.12 §4.1.
type entry []byte

func (e entry) signature() string { return string(e[:2]) }

// data is what follows the header.
func (e entry) data() []byte { return e[suspHeader:] }

// systemUse calls visit for the entries of a record's system use area, and of
// the continuation areas that it leads to.
func (f *FS) systemUse(area []byte, visit func(entry) error) error {
	for range maxContinuations {
		next, err := walkArea(area, visit)
		if err != nil || next == nil {
			return err
		}
		if area, err = f.continuation(next); err != nil {
			return err
		}
	}
	return damaged("more than %d continuation areas", maxContinuations)
}

// walkArea visits the entries of one area and returns the CE entry in it, if
// there is one: that is followed last, wherever it stands.
func walkArea(area []byte, visit func(entry) error) (next entry, err error) {
	for len(area) >= suspHeader {
		n := int(area[2])
		if n < suspHeader {
			return next, nil // padding
		}
		if n > len(area) {
			return nil, damaged("a system use entry of %d bytes with %d left", n, len(area))
		}
		e := entry(area[:n])
		area = area[n:]
		switch e.signature() {
		case "ST":
			return next, nil
		case "CE":
			next = e
		default:
			if err := visit(e); err != nil {
				return nil, err
			}
		}
	}
	return next, nil
}

// continuation reads the area that a CE entry points to: block, offset and
// length, each both-endian.
func (f *FS) continuation(ce entry) ([]byte, error) {
	b := ce.data()
	if len(b) < 24 {
		return nil, damaged("a CE entry of %d bytes", len(ce))
	}
	block := binary.LittleEndian.Uint32(b)
	off := binary.LittleEndian.Uint32(b[8:])
	size := binary.LittleEndian.Uint32(b[16:])
	if size > maxContinuationSize || off >= sectorSize {
		return nil, damaged("a continuation area of %d bytes at %d in block %d", size, off, block)
	}
	area := make([]byte, size)
	if err := f.read(area, int64(block)*sectorSize+int64(off)); err != nil {
		return nil, err
	}
	return area, nil
}

// Where SP stands in the root's system use area, SUSP 1.12 §5.3. CD-ROM XA
// puts 14 bytes of its own first.
var spOffsets = []int{0, 14}

// probeRockRidge tells whether the tree below root has Rock Ridge, and how
// many bytes to skip at the start of system use areas.
func (f *FS) probeRockRidge(root extent) (found bool, skip int, err error) {
	self, err := f.selfRecord(root)
	if err != nil {
		return false, 0, err
	}
	for _, off := range spOffsets {
		if len(self.systemUse) < off+7 {
			continue
		}
		area := self.systemUse[off:]
		if string(area[:2]) != "SP" || area[2] != 7 || area[4] != 0xBE || area[5] != 0xEF {
			continue
		}
		err := f.systemUse(area, func(e entry) error {
			found = found || e.rockRidge()
			return nil
		})
		return found, int(area[6]), err
	}
	return false, 0, nil
}

// rockRidge tells whether an entry of the root says that Rock Ridge is in
// use: an extension reference (RRIP §4.3), or, from writers without one, an
// entry that only Rock Ridge has.
func (e entry) rockRidge() bool {
	switch e.signature() {
	case "RR", "PX":
		return true
	case "ER":
		b := e.data()
		if len(b) < 4 || int(b[0]) > len(b)-4 {
			return false
		}
		switch string(b[4 : 4+int(b[0])]) {
		case "RRIP_1991A", "IEEE_P1282", "IEEE_1282":
			return true
		}
	}
	return false
}
