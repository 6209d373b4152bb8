package debuginfo

import (
	"encoding/binary"
	"fmt"
)

// Forms of attributes (DWARF 5 §7.5.6). Those of a fixed size are in formSizes.
const (
	formBlock2        = 0x03
	formBlock4        = 0x04
	formString        = 0x08
	formBlock         = 0x09
	formBlock1        = 0x0a
	formSdata         = 0x0d
	formUdata         = 0x0f
	formRefAddr       = 0x10
	formSecOffset     = 0x17
	formExprloc       = 0x18
	formAddrx         = 0x1b
	formImplicitConst = 0x21
	formLoclistx      = 0x22
	formRnglistx      = 0x23
)

// formSizes are the forms whose values have one size, in bytes, in DWARF of 32
// bits on a machine of 64.
var formSizes = map[uint64]int{
	0x01: 8,                             // addr
	0x05: 2, 0x06: 4, 0x07: 8, 0x1e: 16, // data2, data4, data8, data16
	0x0b: 1, 0x0c: 1, 0x19: 0, // data1, flag, flag_present
	0x11: 1, 0x12: 2, 0x13: 4, 0x14: 8, 0x20: 8, // ref1, ref2, ref4, ref8, ref_sig8
	formRefAddr: 4, formSecOffset: 4, formImplicitConst: 0,
	0x29: 1, 0x2a: 2, 0x2b: 3, 0x2c: 4, // addrx1 to addrx4
}

// offsetSections says into which section an attribute of form sec_offset leads
// (DWARF 5 §7.5.4). Others of that form are location lists.
var offsetSections = map[uint64]string{
	0x10: ".debug_line",     // stmt_list
	0x55: ".debug_rnglists", // ranges
	0x73: ".debug_addr",     // addr_base
	0x74: ".debug_rnglists", // rnglists_base
}

// An attribute is one of an abbreviation's.
type attribute struct{ name, form uint64 }

// An abbreviation is how the entries that name it are laid out.
type abbreviation struct {
	attributes []attribute
}

// A cursor reads DWARF. Once it would read behind the end, it is bad.
type cursor struct {
	b   []byte
	at  int
	bad bool
}

// skip moves n bytes on and returns where it was.
func (c *cursor) skip(n int) int {
	from := c.at
	if n < 0 || n > len(c.b)-c.at {
		c.bad, c.at = true, len(c.b)
		return len(c.b)
	}
	c.at += n
	return from
}

func (c *cursor) u8() int {
	if at := c.skip(1); !c.bad {
		return int(c.b[at])
	}
	return 0
}

func (c *cursor) u16() int {
	if at := c.skip(2); !c.bad {
		return int(binary.LittleEndian.Uint16(c.b[at:]))
	}
	return 0
}

func (c *cursor) u32() uint32 {
	if at := c.skip(4); !c.bad {
		return binary.LittleEndian.Uint32(c.b[at:])
	}
	return 0
}

// leb reads a number of LEB128 (DWARF 5 §7.6), whose sign bit is not extended.
func (c *cursor) leb() uint64 {
	var v uint64
	for shift := uint(0); !c.bad; shift += 7 {
		b := c.u8()
		if shift < 64 {
			v |= uint64(b&0x7f) << shift
		}
		if b&0x80 == 0 {
			break
		}
	}
	return v
}

// text skips a string that ends with NUL.
func (c *cursor) text() {
	for !c.bad && c.u8() != 0 {
	}
}

// abbreviations reads the table at off in section .debug_abbrev (DWARF 5 §7.5.3).
func abbreviations(b []byte, off uint32) (map[uint64]abbreviation, error) {
	if uint64(off) > uint64(len(b)) {
		return nil, fmt.Errorf(".debug_abbrev: no table at %#x", off)
	}
	c := &cursor{b: b, at: int(off)}
	table := map[uint64]abbreviation{}
	for {
		code := c.leb()
		if c.bad {
			return nil, fmt.Errorf(".debug_abbrev: the table at %#x does not end", off)
		}
		if code == 0 {
			return table, nil
		}
		c.leb() // tag
		c.u8()  // has children
		var a abbreviation
		for {
			at := attribute{c.leb(), c.leb()}
			if at.form == formImplicitConst {
				c.leb()
			}
			if c.bad || at.name == 0 && at.form == 0 {
				break
			}
			a.attributes = append(a.attributes, at)
		}
		table[code] = a
	}
}

// relocateInfo moves what the entries of section .debug_info name in other
// sections by base, which is where their sections will begin.
func relocateInfo(info, abbrev []byte, base map[string]uint32) error {
	tables := map[uint32]map[uint64]abbreviation{}
	for c := (&cursor{b: info}); c.at < len(c.b); {
		// A unit's header, DWARF 5 §7.5.1.1.
		start := c.at
		size := c.u32()
		if size >= 0xfffffff0 || uint64(size) > uint64(len(info)-c.at) {
			return fmt.Errorf(".debug_info: a unit at %#x of %#x bytes", start, size)
		}
		unit := &cursor{b: info[:c.at+int(size)], at: c.at}
		c.skip(int(size))
		version, kind, address := unit.u16(), unit.u8(), unit.u8()
		if version != 5 || kind != 1 || address != 8 {
			return fmt.Errorf(".debug_info: a unit at %#x of DWARF %d, type %d, addresses of %d bytes: want 5, 1, 8", start, version, kind, address)
		}
		off := unit.u32()
		table, ok := tables[off]
		if !ok {
			var err error
			if table, err = abbreviations(abbrev, off); err != nil {
				return err
			}
			tables[off] = table
		}
		add(info, unit.at-4, base[".debug_abbrev"])
		for unit.at < len(unit.b) {
			if err := relocateEntry(unit, table, base); err != nil {
				return err
			}
		}
		if unit.bad {
			return fmt.Errorf(".debug_info: the unit at %#x is cut short", start)
		}
	}
	return nil
}

// relocateEntry relocates the entry at c and moves behind it.
func relocateEntry(c *cursor, table map[uint64]abbreviation, base map[string]uint32) error {
	start := c.at
	code := c.leb()
	if code == 0 {
		return nil // no more siblings
	}
	a, ok := table[code]
	if !ok {
		return fmt.Errorf(".debug_info: an entry at %#x of abbreviation %d, which there is not", start, code)
	}
	for _, at := range a.attributes {
		size, fixed := formSizes[at.form]
		switch {
		case at.form == formSecOffset:
			section, ok := offsetSections[at.name]
			if !ok {
				section = ".debug_loclists"
			}
			if from := c.skip(4); !c.bad {
				add(c.b, from, base[section])
			}
		case at.form == formRefAddr:
			if from := c.skip(4); !c.bad {
				add(c.b, from, base[".debug_info"])
			}
		case fixed:
			c.skip(size)
		default:
			if !c.skipForm(at.form) {
				return fmt.Errorf(".debug_info: an entry at %#x has form %#x, which the Go linker does not write", start, at.form)
			}
		}
	}
	return nil
}

// skipForm skips a value of a form without a fixed size.
func (c *cursor) skipForm(form uint64) bool {
	switch form {
	case formString:
		c.text()
	case formSdata, formUdata, formAddrx, formLoclistx, formRnglistx, 0x15: // and ref_udata
		c.leb()
	case formBlock1:
		c.skip(c.u8())
	case formBlock2:
		c.skip(c.u16())
	case formBlock4:
		c.skip(int(c.u32()))
	case formBlock, formExprloc:
		c.skip(int(c.leb()))
	default:
		return false
	}
	return true
}

// relocateFrames moves what the entries of section .debug_frame name in it by
// base (DWARF 5 §6.4.1).
func relocateFrames(b []byte, base uint32) error {
	for c := (&cursor{b: b}); c.at < len(b); {
		start := c.at
		size := c.u32()
		if size < 4 || size >= 0xfffffff0 || uint64(size) > uint64(len(b)-c.at) {
			return fmt.Errorf(".debug_frame: an entry at %#x of %#x bytes", start, size)
		}
		const common = 0xffffffff // a common information entry, which names none
		if at := c.skip(int(size)); binary.LittleEndian.Uint32(b[at:]) != common {
			add(b, at, base)
		}
	}
	return nil
}

// add adds n to the number at off.
func add(b []byte, off int, n uint32) {
	binary.LittleEndian.PutUint32(b[off:], binary.LittleEndian.Uint32(b[off:])+n)
}
