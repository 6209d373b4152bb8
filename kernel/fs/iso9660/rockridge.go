package iso9660

import (
	"encoding/binary"
	"strings"
	"syscall"
	"time"

	"kiln/kernel/fs"
)

// maxTarget bounds the target of a symbolic link, as PATH_MAX does.
const maxTarget = 4095

// Flags of NM entries and of the components of SL entries, RRIP §4.1.4 and
// §4.1.3.1.
const (
	flagContinue = 1 << 0 // goes on in the next
	flagCurrent  = 1 << 1 // "."
	flagParent   = 1 << 2 // ".."
	flagRoot     = 1 << 3 // "/"
)

// Flags of TF entries, RRIP §4.1.6: which times are there, in this order.
const (
	timeCreation = 1 << iota
	timeModify
	timeAccess
	timeAttributes
	timeBackup
	timeExpiration
	timeEffective
	timeLong // each of 17 bytes instead of 7
)

// rock is what the Rock Ridge entries of a record say.
type rock struct {
	name string // "" if there is none

	px                    bool
	mode, nlink, uid, gid uint32
	rdev                  uint64

	link       bool // there is a target
	target     string
	badLink    error  // why the target cannot be read, or nil
	child      uint32 // CL: the block of a directory that lies elsewhere
	hasChild   bool
	relocated  bool // RE: its place is at another's CL
	compressed bool // ZF: zisofs

	mtime, atime, ctime, btime time.Time // zero if not there

	linkJoin bool // the next component belongs to the last
}

// rock reads a record's Rock Ridge entries. skip is 0 for the root's own
// record.
func (f *FS) rockRidge(r record, skip int) (rock, error) {
	var rr rock
	area := r.systemUse
	if skip > len(area) {
		return rr, nil
	}
	err := f.systemUse(area[skip:], rr.add)
	if err == nil && len(rr.name) > maxName {
		err = damaged("a name of %d bytes", len(rr.name))
	}
	return rr, err
}

// add takes in one entry.
func (rr *rock) add(e entry) error {
	b := e.data()
	le := func(off int) uint32 { return binary.LittleEndian.Uint32(b[off:]) }
	if need := minEntry[e.signature()]; len(b) < need {
		return damaged("an %s entry of %d bytes", e.signature(), len(e))
	}
	switch e.signature() {
	case "PX": // RRIP §4.1.1; each number is both-endian
		rr.px = true
		rr.mode, rr.nlink, rr.uid, rr.gid = le(0), le(8), le(16), le(24)
	case "PN": // RRIP §4.1.2
		rr.rdev = device(le(0), le(8))
	case "NM":
		return rr.addName(b[0], b[1:])
	case "SL":
		// One bad link, as genisoimage writes them if they are long, does not
		// spoil its directory.
		rr.link = true
		if err := rr.addLink(b[1:]); err != nil && rr.badLink == nil {
			rr.badLink = err
		}
	case "TF":
		return rr.addTimes(b[0], b[1:])
	case "CL": // RRIP §4.1.5
		rr.child, rr.hasChild = le(0), true
	case "RE":
		rr.relocated = true
	case "ZF":
		rr.compressed = true
	}
	return nil
}

// minEntry is the least size of an entry's data, in bytes.
var minEntry = map[string]int{"PX": 32, "PN": 16, "NM": 1, "SL": 1, "TF": 1, "CL": 8}

// device makes a device number of a PN entry. Writers that take device numbers
// as 32 bits leave the high part empty.
func device(high, low uint32) uint64 {
	if high == 0 && low&^0xff != 0 {
		return fs.Dev(low>>8, low&0xff)
	}
	return fs.Dev(high, low)
}

// addName appends to the name.
func (rr *rock) addName(flags byte, b []byte) error {
	if flags&(flagCurrent|flagParent) != 0 {
		return nil // of the records "." and "..", whose names nobody needs
	}
	if len(rr.name)+len(b) > maxName {
		return damaged("a name of more than %d bytes", maxName)
	}
	rr.name += string(b)
	return nil
}

// addLink appends the components of an SL entry to the target.
func (rr *rock) addLink(b []byte) error {
	for len(b) >= 2 {
		flags, n := b[0], int(b[1])
		if n > len(b)-2 {
			return damaged("a component of %d bytes in an SL entry with %d left", n, len(b)-2)
		}
		text := string(b[2 : 2+n])
		b = b[2+n:]
		if !rr.linkJoin && rr.target != "" && !strings.HasSuffix(rr.target, "/") {
			rr.target += "/"
		}
		rr.linkJoin = flags&flagContinue != 0
		switch {
		case flags&flagRoot != 0:
			text = "/"
		case flags&flagParent != 0:
			text = ".."
		case flags&flagCurrent != 0:
			text = "."
		}
		rr.target += text
		if len(rr.target) > maxTarget {
			return damaged("a symbolic link of more than %d bytes", maxTarget)
		}
	}
	return nil
}

// addTimes takes the times of a TF entry.
func (rr *rock) addTimes(flags byte, b []byte) error {
	size, parse := 7, shortDate
	if flags&timeLong != 0 {
		size, parse = 17, longDate
	}
	places := []*time.Time{&rr.btime, &rr.mtime, &rr.atime, &rr.ctime}
	for i, place := range places {
		if flags&(1<<i) == 0 {
			continue
		}
		if len(b) < size {
			return damaged("a TF entry ends early")
		}
		*place = parse(b)
		b = b[size:]
	}
	return nil
}

// fileType is the type in a mode.
func fileType(mode uint32) uint32 { return mode & syscall.S_IFMT }
