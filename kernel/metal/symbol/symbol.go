// Package symbol finds function names in a Go program's function table
// (section .gopclntab, the layout of Go 1.20 to 1.26; see runtime/symtab.go),
// for tracebacks from a place where no Go runtime can be asked.
//
// Context: trap context. The table is bounds-checked throughout, as it may be
// damaged when it is needed.
package symbol

const (
	magic      = 0xfffffff1
	headerSize = 8 + 8*8 // magic to pclnOffset
)

// Find returns the name of the function that contains pc, and pc's offset in
// it, or nil. text is the address of the program's runtime.text. The name is a
// part of table.
func Find(table []byte, text, pc uint64) (name []byte, offset uint64) {
	entry, info, ok := find(table, text, pc)
	if !ok {
		return nil, 0
	}
	at := word(table, 32) + uint64(le32(info[4:])) // _func.nameOff
	if at >= uint64(len(table)) {
		return nil, 0
	}
	name = table[at:]
	for i, c := range name {
		if c == 0 {
			return name[:i], pc - text - entry
		}
	}
	return nil, 0
}

// FrameSize returns by how many bytes the stack pointer lies below the return
// address when pc is about to run: what the function has pushed and reserved
// so far. It reports false if the table does not say.
func FrameSize(table []byte, text, pc uint64) (size uint64, ok bool) {
	entry, info, ok := find(table, text, pc)
	if !ok || len(info) < 20 {
		return 0, false
	}
	pctab := word(table, 56)
	off := uint64(le32(info[16:])) // _func.pcsp
	if off == 0 || pctab >= uint64(len(table)) || off >= uint64(len(table))-pctab {
		return 0, false
	}
	// Pairs of steps, in value and in pc; a value holds up to the next pc
	// (runtime.pcvalue).
	b := table[pctab+off:]
	value, at := int64(-1), entry
	for first := true; ; first = false {
		v, n := uvarint(b)
		if n == 0 || v == 0 && !first {
			return 0, false
		}
		b = b[n:]
		if v&1 != 0 {
			value += int64(^(v >> 1))
		} else {
			value += int64(v >> 1)
		}
		d, n := uvarint(b)
		if n == 0 {
			return 0, false
		}
		b = b[n:]
		if at += d; pc-text < at {
			return uint64(value), value >= 0
		}
	}
}

// find returns the function that contains pc: its offset from text, and its
// _func structure with what follows.
func find(table []byte, text, pc uint64) (entry uint64, info []byte, ok bool) {
	if len(table) < headerSize || le32(table) != magic || table[7] != 8 || pc < text {
		return 0, nil, false
	}
	count := word(table, 8)
	names := word(table, 32)
	funcs := word(table, 64)
	size := uint64(len(table))
	if names >= size || funcs >= size || count > (size-funcs)/8 {
		return 0, nil, false
	}
	tab := table[funcs:]
	target := pc - text
	lo, hi := uint64(0), count // the last function that starts at or before pc
	for lo < hi {
		mid := (lo + hi) / 2
		if uint64(le32(tab[8*mid:])) <= target {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == 0 || 8*lo+4 > uint64(len(tab)) || target >= uint64(le32(tab[8*lo:])) {
		return 0, nil, false
	}
	entry = uint64(le32(tab[8*(lo-1):]))
	at := uint64(le32(tab[8*(lo-1)+4:]))
	if at+8 > uint64(len(tab)) {
		return 0, nil, false
	}
	return entry, tab[at:], true
}

// uvarint reads a number of up to 32 bits in base 128 from b, and returns it
// and its length, or a length of 0.
func uvarint(b []byte) (v uint64, n int) {
	for n < len(b) && n < 5 {
		v |= uint64(b[n]&0x7f) << (7 * n)
		n++
		if b[n-1] < 0x80 {
			return v, n
		}
	}
	return 0, 0
}

func word(b []byte, off int) uint64 {
	return uint64(le32(b[off:])) | uint64(le32(b[off+4:]))<<32
}

func le32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}
