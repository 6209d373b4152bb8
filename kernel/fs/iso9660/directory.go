package iso9660

import (
	"fmt"
	"io"
	"strings"
	"syscall"
)

// Bounds on a directory, so that an image cannot ask for all memory. A real
// one of this size would have some 200,000 entries.
const (
	maxDirectorySize = 32 << 20 // bytes
	directoryChunk   = 32 * sectorSize
)

// dirent is an entry of a directory, as much as finding its inode takes.
type dirent struct {
	name     string
	typ      uint8  // DT_…
	addr     int64  // of the record; of the "." record for directories
	extent   extent // of the first section
	sections []extent
	broken   error // why the content cannot be read, or nil
}

// number is the inode number. Records have addresses of their own, and
// directories that of their "." record, by whichever name they are reached.
func (d *dirent) number() uint64 {
	if d.typ == syscall.DT_DIR {
		return uint64(d.addr) << 1
	}
	return uint64(d.addr)<<1 | 1
}

// selfRecord reads the record "." of the directory in an extent, its first.
func (f *FS) selfRecord(e extent) (record, error) {
	b := make([]byte, sectorSize)
	if err := f.read(b, e.off()); err != nil {
		return record{}, err
	}
	n := int(b[recLength])
	r, err := parseRecord(b[:n])
	if err != nil {
		return record{}, err
	}
	if !r.special() || r.name[0] != 0 || r.flags&flagDirectory == 0 || r.block != e.block {
		return record{}, damaged("the directory in block %d does not begin with itself", e.block)
	}
	return r, nil
}

// records calls visit with each record of a directory and its address.
func (f *FS) records(e extent, visit func(r record, addr int64) error) error {
	if e.size > maxDirectorySize {
		return damaged("a directory of %d bytes, more than %d", e.size, maxDirectorySize)
	}
	if !f.fits(e) {
		return fmt.Errorf("a directory of %d bytes in block %d is past the end of the device: %w", e.size, e.block, syscall.EIO)
	}
	buf := make([]byte, min(int64(e.size), directoryChunk))
	for off := int64(0); off < int64(e.size); off += directoryChunk {
		chunk := buf[:min(directoryChunk, int64(e.size)-off)]
		if err := f.read(chunk, e.off()+off); err != nil {
			return err
		}
		for at := 0; at < len(chunk); at += sectorSize {
			sector := chunk[at:min(at+sectorSize, len(chunk))]
			if err := sectorRecords(sector, e.off()+off+int64(at), visit); err != nil {
				return err
			}
		}
	}
	return nil
}

// sectorRecords visits the records of one sector, which is at addr. No record
// crosses into the next sector (ECMA-119 §6.8.1.1).
func sectorRecords(sector []byte, addr int64, visit func(r record, addr int64) error) error {
	for at := 0; at < len(sector); {
		n := int(sector[at+recLength])
		if n == 0 {
			return nil
		}
		if n > len(sector)-at {
			return damaged("a directory record of %d bytes at %#x crosses a sector", n, addr+int64(at))
		}
		r, err := parseRecord(sector[at : at+n])
		if err != nil {
			return err
		}
		if err := visit(r, addr+int64(at)); err != nil {
			return err
		}
		at += n
	}
	return nil
}

// A reader of a directory collects entries from its records.
type directoryReader struct {
	f       *FS
	entries []dirent
	index   map[string]int // name → entry
	open    bool           // the last entry's file goes on in the next record
	dropped bool           // and has a name that was there before
}

// readDirectory reads all entries of the directory in e.
func (f *FS) readDirectory(e extent) ([]dirent, map[string]int, error) {
	d := directoryReader{f: f, index: make(map[string]int)}
	if err := f.records(e, d.add); err != nil {
		return nil, nil, err
	}
	if d.open {
		return nil, nil, damaged("a file's last section is missing")
	}
	return d.entries, d.index, nil
}

// add takes in one record.
func (d *directoryReader) add(r record, addr int64) error {
	if r.special() || r.flags&flagAssociated != 0 {
		return nil
	}
	if d.open {
		return d.addSection(r)
	}
	entry, hidden, err := d.f.entry(r, addr)
	if err != nil {
		return err
	}
	d.open = r.flags&flagMultiExtent != 0
	if d.open && entry.typ == syscall.DT_DIR {
		return damaged("a directory in several sections")
	}
	_, twice := d.index[entry.name]
	// Older versions of a file follow the newest (ECMA-119 §9.3).
	d.dropped = hidden || twice || !validName(entry.name)
	if d.dropped {
		return nil
	}
	d.index[entry.name] = len(d.entries)
	d.entries = append(d.entries, entry)
	return nil
}

// addSection takes a further section of the last file.
func (d *directoryReader) addSection(r record) error {
	d.open = r.flags&flagMultiExtent != 0
	if d.dropped {
		return nil
	}
	e := &d.entries[len(d.entries)-1]
	last := e.extent
	if len(e.sections) > 0 {
		last = e.sections[len(e.sections)-1]
	}
	if last.size%sectorSize != 0 {
		return damaged("%q has a section of %d bytes that is not its last", e.name, last.size)
	}
	if r.interleaved {
		e.broken = errInterleaved
	}
	e.sections = append(e.sections, r.extent)
	return nil
}

var (
	errInterleaved = fmt.Errorf("interleaved files are not supported: %w", syscall.EOPNOTSUPP)
	errCompressed  = fmt.Errorf("zisofs compression is not supported: %w", syscall.EOPNOTSUPP)
)

// entry makes an entry of a record. hidden says that it belongs elsewhere.
func (f *FS) entry(r record, addr int64) (e dirent, hidden bool, err error) {
	e = dirent{typ: syscall.DT_REG, addr: addr, extent: r.extent}
	if r.interleaved {
		e.broken = errInterleaved
	}
	if r.flags&flagDirectory != 0 {
		e.typ, e.addr = syscall.DT_DIR, r.extent.off()
	}
	e.name = f.name(r)
	if !f.rock {
		return e, false, nil
	}
	rr, err := f.rockRidge(r, f.skip)
	if err != nil {
		return dirent{}, false, err
	}
	if rr.name != "" {
		e.name = rr.name
	}
	switch {
	case rr.hasChild: // a directory that was too deep, RRIP §4.1.5
		e.typ, e.extent = syscall.DT_DIR, extent{block: rr.child}
		e.addr = e.extent.off()
	case e.typ != syscall.DT_DIR && rr.link:
		e.typ = syscall.DT_LNK
	case e.typ != syscall.DT_DIR && rr.px:
		e.typ = direntType(rr.mode)
	}
	if rr.compressed {
		e.broken = errCompressed
	}
	return e, rr.relocated, nil
}

// direntType is the type of a record that is no directory, by its mode.
func direntType(mode uint32) uint8 {
	switch t := fileType(mode); t {
	case syscall.S_IFCHR, syscall.S_IFBLK, syscall.S_IFIFO, syscall.S_IFSOCK:
		return uint8(t >> 12)
	}
	return syscall.DT_REG
}

// name is a record's name without Rock Ridge.
func (f *FS) name(r record) string {
	if f.vol.joliet {
		return withoutVersion(decodeUCS2(r.name))
	}
	return plainName(r.name)
}

// validName tells whether a name can be that of a file.
func validName(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= maxName && !strings.ContainsAny(name, "/\x00")
}

// contentOffset finds where a file's sections hold its byte off, and how many
// of up to n bytes from there on lie in one piece.
func contentOffset(sections []extent, off int64, n int) (addr int64, size int, err error) {
	for _, s := range sections {
		if off < int64(s.size) {
			return s.off() + off, int(min(int64(n), int64(s.size)-off)), nil
		}
		off -= int64(s.size)
	}
	return 0, 0, io.EOF
}
