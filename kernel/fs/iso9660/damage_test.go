package iso9660_test

import (
	"bytes"
	"errors"
	"io"
	"syscall"
	"testing"

	kfs "kiln/kernel/fs"
	"kiln/kernel/fs/iso9660"
)

// visit uses all of a volume and returns the first error. It bounds its depth,
// because a damaged directory may contain itself.
func visit(dev *disk, o iso9660.Options) error {
	f, err := iso9660.Mount(dev, o)
	if err != nil {
		return err
	}
	if _, err := f.Statfs(); err != nil {
		return err
	}
	root, err := f.Root()
	if err != nil {
		return err
	}
	defer root.DecRef()
	budget := 200
	return visitInode(root, 0, &budget)
}

func visitInode(in kfs.Inode, depth int, budget *int) error {
	if *budget--; depth > 10 || *budget < 0 {
		return nil
	}
	a, err := in.Attr()
	if err != nil {
		return err
	}
	switch a.Mode & syscall.S_IFMT {
	case syscall.S_IFLNK:
		_, err := in.Readlink()
		return err
	case syscall.S_IFREG:
		buf := make([]byte, 5000)
		for _, off := range []int64{0, 2000, int64(a.Size) - 10, int64(a.Size)} {
			if _, err := in.ReadAt(buf, max(off, 0)); err != nil && err != io.EOF {
				return err
			}
		}
		return nil
	case syscall.S_IFDIR:
	default:
		return nil
	}
	var names []string
	if err := in.ReadDir(0, func(d kfs.Dirent) bool {
		names = append(names, d.Name)
		return true
	}); err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		child, err := in.Lookup(name)
		if err == nil {
			err = visitInode(child, depth+1, budget)
			child.DecRef()
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func TestBuiltImageIsSound(t *testing.T) {
	for _, o := range []iso9660.Options{{}, {NoRockRidge: true}, {NoRockRidge: true, NoJoliet: true}} {
		if err := visit(memory(built().bytes()), o); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestDamage(t *testing.T) {
	const root, file, link, sub = "root", "file", "link", "sub"
	tests := []struct {
		name   string
		damage func(*iso)
		want   error
	}{
		{"descriptor", func(i *iso) { i.b[sectorPrimary*2048+1] = 'X' }, syscall.EUCLEAN},
		{"block size", func(i *iso) { i.b[sectorPrimary*2048+129] = 2 }, syscall.EUCLEAN},
		{"root past the end", func(i *iso) { copy(i.b[sectorPrimary*2048+158:], both(1<<30)) }, syscall.EIO},
		{"root is a file", func(i *iso) { i.b[i.records[root]+25] = 0 }, syscall.EUCLEAN},
		{"root too large", func(i *iso) { copy(i.b[i.records[root]+10:], both(1<<31)) }, syscall.EUCLEAN},
		{"directory past the end", func(i *iso) { copy(i.b[i.records["sub/."]+10:], both(1<<24)) }, syscall.EIO},
		{"record too short", func(i *iso) { i.b[i.records[file]] = 20 }, syscall.EUCLEAN},
		{"record crosses a sector", func(i *iso) {
			copy(i.b[(sectorRoot+1)*2048-40:], i.b[i.records[sub]:][:40])
			at := i.records[sub]
			for at < (sectorRoot+1)*2048-40 { // fill up with copies that are dropped
				at += copy(i.b[at:(sectorRoot+1)*2048-40], record("\x01", extent{}, 2))
			}
			i.b[(sectorRoot+1)*2048-40] = 60
		}, syscall.EUCLEAN},
		{"name longer than the record", func(i *iso) { i.b[i.records[link]+32] = 250 }, syscall.EUCLEAN},
		{"last section missing", func(i *iso) { i.b[i.records[sub]+25] = 0x80 }, syscall.EUCLEAN},
		{"first section odd", func(i *iso) { copy(i.b[i.records[file]+10:], both(1000)) }, syscall.EUCLEAN},
		{"content past the end", func(i *iso) { copy(i.b[i.records["leaf"]+2:], both(1<<20)) }, syscall.EIO},
		{"interleaved", func(i *iso) { i.b[i.records["leaf"]+26] = 1 }, syscall.EOPNOTSUPP},
		{"zisofs", func(i *iso) {
			nm := bytes.Index(i.b[sectorSub*2048:], []byte("NM\x09")) + sectorSub*2048
			copy(i.b[nm:], "ZF")
		}, syscall.EOPNOTSUPP},
		{"link component too long", func(i *iso) {
			sl := bytes.Index(i.b[sectorRoot*2048:], []byte("SL")) + sectorRoot*2048
			i.b[sl+6] = 200
		}, syscall.EUCLEAN},
		{"system use entry too long", func(i *iso) {
			sl := bytes.Index(i.b[sectorRoot*2048:], []byte("SL")) + sectorRoot*2048
			i.b[sl+2] = 200
		}, syscall.EUCLEAN},
		{"continuation without end", func(i *iso) {
			ce := susp("CE", both(sectorContinued), both(8), both(28))
			copy(i.b[sectorContinued*2048+8:], ce)
			at := bytes.Index(i.b[sectorRoot*2048:], []byte("CE")) + sectorRoot*2048
			copy(i.b[at:], ce)
		}, syscall.EUCLEAN},
		{"continuation past the end", func(i *iso) {
			at := bytes.Index(i.b[sectorRoot*2048:], []byte("CE")) + sectorRoot*2048
			copy(i.b[at+4:], both(1<<31))
		}, syscall.EIO},
		{"child link to nowhere", func(i *iso) {
			px := bytes.Index(i.b[i.records[sub]:], []byte("PX")) + i.records[sub]
			copy(i.b[px:], susp("CL", both(sectorContent)))
			i.b[px+2] = 36
		}, syscall.EUCLEAN},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			i := built()
			tt.damage(i)
			if err := visit(memory(i.bytes()), iso9660.Options{}); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}

// A directory that contains itself is the same inode at each level.
func TestDirectoryInItself(t *testing.T) {
	i := built()
	copy(i.b[i.records["sub"]+2:], both(sectorRoot))
	f := mount(t, memory(i.bytes()), iso9660.Options{})
	root, err := f.Root()
	if err != nil {
		t.Fatal(err)
	}
	defer root.DecRef()
	if in := lookup(t, f, "sub/sub/sub"); in != root {
		t.Error("the root reached through itself is another inode")
	}
}

// Damage is logged, but not over and over.
func TestDamageIsLoggedOnce(t *testing.T) {
	i := built()
	copy(i.b[i.records["sub/."]+10:], both(1<<24))
	var lines []string
	f, err := iso9660.Mount(memory(i.bytes()), iso9660.Options{Log: func(s string) { lines = append(lines, s) }})
	if err != nil {
		t.Fatal(err)
	}
	sub := lookup(t, f, "sub")
	for range 3 {
		if _, err := sub.Lookup("leaf"); !errors.Is(err, syscall.EIO) {
			t.Errorf("Lookup: %v, want EIO", err)
		}
	}
	if len(lines) != 1 {
		t.Errorf("%d lines are logged, want 1: %q", len(lines), lines)
	}
}

// FuzzVolume changes bytes of the built image: each four bytes of the input
// are an offset, of 24 bits, and a value.
func FuzzVolume(f *testing.F) {
	i := built()
	for _, at := range i.records {
		for off := range 60 {
			f.Add([]byte{byte(at + off), byte((at + off) >> 8), byte((at + off) >> 16), 0xff})
		}
	}
	f.Fuzz(func(t *testing.T, changes []byte) {
		b := bytes.Clone(i.b)
		for ; len(changes) >= 4; changes = changes[4:] {
			off := int(changes[0]) | int(changes[1])<<8 | int(changes[2])<<16
			b[off%len(b)] = changes[3]
		}
		dev := memory(b)
		iso9660.Probe(dev)
		for _, o := range []iso9660.Options{{}, {NoRockRidge: true}, {NoRockRidge: true, NoJoliet: true}} {
			err := visit(dev, o)
			for _, want := range []error{nil, syscall.EUCLEAN, syscall.EIO, syscall.EOPNOTSUPP} {
				if errors.Is(err, want) {
					err = nil
				}
			}
			if err != nil {
				t.Errorf("%+v: an error that is not of damage: %v", o, err)
			}
		}
	})
}
