package iso9660

import (
	"encoding/binary"
	"strings"
)

// Volume descriptors, ECMA-119 §8: one a sector from sector 16 on, until a
// terminator.
const (
	firstDescriptor = 16
	maxDescriptors  = 64 // no image has more than a handful
)

// Kinds of volume descriptors, ECMA-119 §8.1.1.
const (
	kindPrimary       = 1
	kindSupplementary = 2 // Joliet, or an enhanced descriptor (version 2)
	kindTerminator    = 255
)

// Offsets in a volume descriptor, ECMA-119 §8.4 and §8.5.
const (
	volID          = 1 // "CD001"
	volVersion     = 6
	volLabel       = 40 // 32 characters
	volBlocks      = 80 // both-endian 32 bits
	volEscapes     = 88 // 32 bytes, supplementary
	volBlockSize   = 128
	volRootRecord  = 156 // 34 bytes
	rootRecordSize = 34
)

// jolietEscapes are the escape sequences of UCS-2, levels 1 to 3 (Joliet
// specification, "SVD Escape Sequences").
var jolietEscapes = []string{"%/@", "%/C", "%/E"}

// descriptor is a sector that holds a volume descriptor.
type descriptor struct {
	kind byte
	b    []byte
}

// volume is one tree of files.
type volume struct {
	label  string
	blocks uint32 // size in logical blocks
	root   extent
	joliet bool
}

// descriptor reads the volume descriptor number i.
func (f *FS) descriptor(i int) (descriptor, error) {
	b := make([]byte, sectorSize)
	if err := f.read(b, int64(firstDescriptor+i)*sectorSize); err != nil {
		return descriptor{}, err
	}
	if string(b[volID:volID+5]) != "CD001" {
		return descriptor{}, damaged("sector %d is no volume descriptor", firstDescriptor+i)
	}
	return descriptor{b[0], b}, nil
}

// volumes returns the primary volume, and Joliet's if there is one.
func (f *FS) volumes() (primary volume, joliet *volume, err error) {
	found := false
	for i := range maxDescriptors {
		d, err := f.descriptor(i)
		if err != nil && found {
			f.log("no terminator follows the volume descriptors")
			break
		}
		if err != nil {
			return volume{}, nil, err
		}
		if d.kind == kindTerminator {
			break
		}
		switch {
		case d.kind == kindPrimary && !found:
			if primary, err = d.parse(false); err != nil {
				return volume{}, nil, err
			}
			found = true
		case d.kind == kindSupplementary && d.b[volVersion] == 1 && d.joliet() && joliet == nil:
			v, err := d.parse(true)
			if err != nil {
				f.log("the Joliet volume is not used: " + err.Error())
				continue
			}
			joliet = &v
		}
	}
	if !found {
		return volume{}, nil, damaged("there is no primary volume descriptor")
	}
	return primary, joliet, nil
}

// joliet tells whether a supplementary descriptor has Joliet's names.
func (d descriptor) joliet() bool {
	escapes := string(d.b[volEscapes : volEscapes+32])
	for _, e := range jolietEscapes {
		if strings.Contains(escapes, e) {
			return true
		}
	}
	return false
}

// parse reads what the descriptor says of its tree.
func (d descriptor) parse(joliet bool) (volume, error) {
	if n := binary.LittleEndian.Uint16(d.b[volBlockSize:]); n != sectorSize {
		return volume{}, damaged("logical blocks of %d bytes, only %d is supported", n, sectorSize)
	}
	r, err := parseRecord(d.b[volRootRecord : volRootRecord+rootRecordSize])
	if err != nil {
		return volume{}, err
	}
	label := d.b[volLabel : volLabel+32]
	v := volume{blocks: binary.LittleEndian.Uint32(d.b[volBlocks:]), root: r.extent, joliet: joliet}
	if joliet {
		v.label = decodeUCS2(label)
	} else {
		v.label = string(label)
	}
	v.label = strings.TrimRight(v.label, " \x00")
	return v, nil
}
