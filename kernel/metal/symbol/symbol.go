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
	if len(table) < headerSize || le32(table) != magic || table[7] != 8 || pc < text {
		return nil, 0
	}
	count := word(table, 8)
	names := word(table, 32)
	funcs := word(table, 64)
	size := uint64(len(table))
	if names >= size || funcs >= size || count > (size-funcs)/8 {
		return nil, 0
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
		return nil, 0
	}
	entry := uint64(le32(tab[8*(lo-1):]))
	info := uint64(le32(tab[8*(lo-1)+4:]))
	if info+8 > uint64(len(tab)) {
		return nil, 0
	}
	at := names + uint64(le32(tab[info+4:])) // _func.nameOff
	if at >= size {
		return nil, 0
	}
	name = table[at:]
	for i, c := range name {
		if c == 0 {
			return name[:i], target - entry
		}
	}
	return nil, 0
}

func word(b []byte, off int) uint64 {
	return uint64(le32(b[off:])) | uint64(le32(b[off+4:]))<<32
}

func le32(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}
