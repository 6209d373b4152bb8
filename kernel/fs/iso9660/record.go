package iso9660

import (
	"encoding/binary"
	"strings"
	"time"
	"unicode/utf16"
)

// Offsets in a directory record, ECMA-119 §9.1. Numbers are there in both byte
// orders; the little-endian one comes first.
const (
	recLength      = 0
	recXAttr       = 1 // blocks of an extended attribute record before the data
	recExtent      = 2
	recSize        = 10
	recDate        = 18 // 7 bytes
	recFlags       = 25
	recUnitSize    = 26
	recGap         = 27
	recNameLength  = 32
	recName        = 33
	minRecordBytes = 34
)

// Flags of a record, ECMA-119 §9.1.6.
const (
	flagDirectory   = 1 << 1
	flagAssociated  = 1 << 2
	flagMultiExtent = 1 << 7 // the file goes on in the next record
)

// record is a directory record. Its slices are parts of what it was read from.
type record struct {
	extent
	flags       byte
	interleaved bool
	date        time.Time
	name        []byte
	systemUse   []byte
}

// parseRecord reads a directory record that fills b.
func parseRecord(b []byte) (record, error) {
	if len(b) < minRecordBytes {
		return record{}, damaged("a directory record of %d bytes", len(b))
	}
	n := int(b[recNameLength])
	if n == 0 || recName+n > len(b) {
		return record{}, damaged("a name of %d bytes in a directory record of %d", n, len(b))
	}
	r := record{
		extent: extent{
			block: binary.LittleEndian.Uint32(b[recExtent:]),
			size:  binary.LittleEndian.Uint32(b[recSize:]),
		},
		flags:       b[recFlags],
		interleaved: b[recUnitSize] != 0 || b[recGap] != 0,
		date:        shortDate(b[recDate:]),
		name:        b[recName : recName+n],
	}
	if x := uint32(b[recXAttr]); x > 0 {
		if r.block > 1<<32-1-x {
			return record{}, damaged("an extent at block %d", r.block)
		}
		r.block += x
	}
	// A padding byte makes the name's field end at an even offset.
	if use := (recName + n + 1) &^ 1; use < len(b) {
		r.systemUse = b[use:]
	}
	return r, nil
}

// special tells whether the record is the directory's own or its parent's,
// which have the names 0 and 1 (ECMA-119 §7.6.2).
func (r record) special() bool { return len(r.name) == 1 && r.name[0] <= 1 }

// shortDate reads the 7 bytes of ECMA-119 §9.1.5.
func shortDate(b []byte) time.Time {
	if b[1] == 0 {
		return time.Unix(0, 0) // not recorded
	}
	return date(1900+int(b[0]), int(b[1]), int(b[2]), int(b[3]), int(b[4]), int(b[5]), 0, int8(b[6]))
}

// longDate reads the 17 bytes of ECMA-119 §8.4.26.1: 16 digits and a zone.
func longDate(b []byte) time.Time {
	number := func(from, to int) int {
		n := 0
		for _, c := range b[from:to] {
			if c < '0' || c > '9' {
				return 0
			}
			n = n*10 + int(c-'0')
		}
		return n
	}
	if number(0, 4) == 0 {
		return time.Unix(0, 0)
	}
	return date(number(0, 4), number(4, 6), number(6, 8), number(8, 10), number(10, 12), number(12, 14), number(14, 16), int8(b[16]))
}

// date takes a local time and its distance from Greenwich in quarters of an
// hour. Parts out of range carry over.
func date(year, month, day, hour, minute, second, hundredth int, zone int8) time.Time {
	utc := time.Date(year, time.Month(month), day, hour, minute, second, hundredth*1e7, time.UTC)
	return utc.Add(-15 * time.Minute * time.Duration(zone))
}

// plainName turns a file identifier of ECMA-119 §7.5 into a file name: lower
// case, without the version, and without the dot if there is no extension.
func plainName(b []byte) string {
	lower := make([]byte, len(b))
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	return strings.TrimSuffix(withoutVersion(string(lower)), ".")
}

// withoutVersion cuts a version number, ";1", from a name.
func withoutVersion(name string) string {
	i := strings.LastIndexByte(name, ';')
	if i <= 0 || i == len(name)-1 || strings.Trim(name[i+1:], "0123456789") != "" {
		return name
	}
	return name[:i]
}

// decodeUCS2 turns big-endian UCS-2 into UTF-8. Writers put surrogates there
// too, so it is read as UTF-16.
func decodeUCS2(b []byte) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = binary.BigEndian.Uint16(b[2*i:])
	}
	return string(utf16.Decode(units))
}
