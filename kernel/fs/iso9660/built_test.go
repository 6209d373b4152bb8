package iso9660_test

import (
	"encoding/binary"
)

// Sectors of the built image.
const (
	sectorPrimary    = 16
	sectorJoliet     = 17
	sectorTerminator = 18
	sectorRoot       = 19
	sectorSub        = 20
	sectorContinued  = 21 // a continuation area
	sectorContent    = 22 // two sections of "file": 22 and 24
	sectorJolietRoot = 25
	sectors          = 28
)

// builtContent is what is in the built image's "file".
var builtContent = pattern(9, 2048+1000)

// An iso is an image that is built by hand, so that each byte is known.
type iso struct {
	b       []byte
	records map[string]int // offsets of records, for damage
	at      int            // where the next record goes
}

// built makes an image with Rock Ridge and Joliet:
//
//	file   in two sections, with its name in a continuation area
//	link   → sub/leaf
//	sub/leaf
func built() *iso {
	i := &iso{b: make([]byte, sectors*2048), records: make(map[string]int)}
	root := extent{sectorRoot, 2048}
	i.volume(sectorPrimary, 1, "", root)
	i.volume(sectorJoliet, 2, "%/E", extent{sectorJolietRoot, 2048})
	copy(i.b[sectorTerminator*2048:], "\xffCD001\x01")

	px := func(mode uint32) []byte { return susp("PX", both(mode), both(1), both(7), both(8)) }
	name := func(s string) []byte { return susp("NM", []byte{0}, []byte(s)) }
	er := susp("ER", []byte{10, 0, 0, 1}, []byte("RRIP_1991A"))
	tf := susp("TF", []byte{0x0e}, date7, date7, date7)

	i.at = sectorRoot * 2048
	i.add("root", record("\x00", root, 2, susp("SP", []byte{0xbe, 0xef, 0}), er, px(0o40755), tf))
	i.add("root/..", record("\x01", root, 2, px(0o40755)))
	continued := susp("CE", both(sectorContinued), both(8), both(uint32(len(name("le")))))
	first := extent{sectorContent, 2048}
	i.add("file", record("FILE.;1", first, 0x80, px(0o100644), susp("NM", []byte{1}, []byte("fi")), continued))
	i.add("file2", record("FILE.;1", extent{sectorContent + 2, 1000}, 0, px(0o100644)))
	i.add("link", record("LINK.;1", extent{}, 0, px(0o120777), name("link"),
		susp("SL", []byte{0}, []byte("\x00\x03sub\x00\x04leaf"))))
	sub := extent{sectorSub, 2048}
	i.add("sub", record("SUB", sub, 2, px(0o40700), name("sub")))
	copy(i.b[sectorContinued*2048+8:], name("le"))

	i.at = sectorSub * 2048
	i.add("sub/.", record("\x00", sub, 2, px(0o40700)))
	i.add("sub/..", record("\x01", root, 2, px(0o40755)))
	i.add("leaf", record("LEAF.;1", extent{sectorContent, 5}, 0, px(0o100600), name("leaf")))

	joliet := extent{sectorJolietRoot, 2048}
	i.at = sectorJolietRoot * 2048
	i.add("joliet", record("\x00", joliet, 2))
	i.add("joliet/..", record("\x01", joliet, 2))
	i.add("joliet/file", record("\x00f\x00i\x00l\x00e", first, 0))

	copy(i.b[sectorContent*2048:], builtContent[:2048])
	copy(i.b[(sectorContent+2)*2048:], builtContent[2048:])
	return i
}

func (i *iso) bytes() []byte { return i.b }

type extent struct{ block, size uint32 }

var date7 = []byte{120, 6, 15, 12, 30, 59, 4}

// volume writes a volume descriptor.
func (i *iso) volume(sector, kind int, escapes string, root extent) {
	b := i.b[sector*2048:]
	b[0] = byte(kind)
	copy(b[1:], "CD001\x01")
	copy(b[40:], "BUILT")
	copy(b[80:], both(sectors))
	copy(b[88:], escapes)
	binary.LittleEndian.PutUint16(b[128:], 2048)
	copy(b[156:], record("\x00", root, 2))
}

// add writes a record and notes where.
func (i *iso) add(name string, r []byte) {
	i.records[name] = i.at
	i.at += copy(i.b[i.at:], r)
}

// record makes a directory record.
func record(name string, e extent, flags byte, systemUse ...[]byte) []byte {
	b := make([]byte, (33+len(name)+1)&^1)
	copy(b[2:], both(e.block))
	copy(b[10:], both(e.size))
	copy(b[18:], date7)
	b[25] = flags
	b[32] = byte(len(name))
	copy(b[33:], name)
	for _, s := range systemUse {
		b = append(b, s...)
	}
	if len(b)%2 != 0 {
		b = append(b, 0)
	}
	b[0] = byte(len(b))
	return b
}

// susp makes a system use entry.
func susp(signature string, data ...[]byte) []byte {
	b := append([]byte(signature), 0, 1)
	for _, d := range data {
		b = append(b, d...)
	}
	b[2] = byte(len(b))
	return b
}

// both writes a number in both byte orders.
func both(n uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, n), n)
}
