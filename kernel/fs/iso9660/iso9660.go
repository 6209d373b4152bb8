// Package iso9660 reads ISO 9660 images (ECMA-119, 4th edition) with the Rock
// Ridge extensions (IEEE P1282 draft 1.12, on SUSP 1.12) and Joliet names
// (Microsoft, 1995).
//
// A volume may describe its files several times over: in the primary volume
// descriptor's tree, with names of eight capitals, to which Rock Ridge adds
// names, owners, permissions and symbolic links in each record's system use
// area; and in the tree of a Joliet descriptor, with UCS-2 names. Rock Ridge is
// preferred, then Joliet, then plain names, which become lower case without
// version numbers, as on Linux.
//
// An image is not trusted: every extent, length and link is checked, and
// nonsense becomes EUCLEAN. Not read are interleaved files and zisofs
// compression: such files are listed, but reading them fails with EOPNOTSUPP.
//
// Context: ordinary goroutines. Lock order: inode.mu, then FS.mu.
package iso9660

import (
	"errors"
	"fmt"
	"sync"
	"syscall"

	"kiln/kernel/fs"
	"kiln/kernel/fs/block"
)

// sectorSize is the size of a logical sector, ECMA-119 §6.1.2, and the only
// size of a logical block that is in use: bytes.
const sectorSize = 2048

// magic is ISOFS_SUPER_MAGIC, what statfs(2) reports.
const magic = 0x9660

// maxName is the longest name that is given out, in bytes.
const maxName = 255

// Options change how a volume is mounted.
type Options struct {
	NoRockRidge bool // pretend that there is none
	NoJoliet    bool
	// Log hears of damage, a line at a time. It may be nil.
	Log func(line string)
}

// FS is a mounted volume. It implements fs.Filesystem.
type FS struct {
	dev  block.Device
	log  func(string)
	vol  volume // the tree in use
	rock bool   // the tree has Rock Ridge
	skip int    // bytes at the start of system use areas, SUSP §5.3

	mu       sync.Mutex
	inodes   map[uint64]*inode // guarded by mu: those referenced, by number
	reported map[string]bool   // guarded by mu: lines of the log
}

var _ fs.Filesystem = (*FS)(nil)

// Probe tells whether there is an ISO 9660 volume on a device.
func Probe(dev block.Device) bool {
	f := &FS{dev: dev}
	d, err := f.descriptor(0)
	return err == nil && d.kind == kindPrimary
}

// Mount reads a volume's descriptors.
func Mount(dev block.Device, o Options) (*FS, error) {
	f := &FS{dev: dev, log: o.Log, inodes: make(map[uint64]*inode), reported: make(map[string]bool)}
	if f.log == nil {
		f.log = func(string) {}
	}
	if n := dev.SectorSize(); n != 512 && n != 2*sectorSize {
		return nil, fmt.Errorf("iso9660: sectors of %d bytes: %w", n, fs.EUCLEAN)
	}
	primary, joliet, err := f.volumes()
	if err != nil {
		return nil, fmt.Errorf("iso9660: %w", err)
	}
	f.vol = primary
	if !o.NoRockRidge {
		if f.rock, f.skip, err = f.probeRockRidge(primary.root); err != nil {
			return nil, fmt.Errorf("iso9660: root directory: %w", err)
		}
	}
	if !f.rock && joliet != nil && !o.NoJoliet {
		f.vol = *joliet
	}
	root, err := f.Root()
	if err != nil {
		return nil, fmt.Errorf("iso9660: %w", err)
	}
	root.DecRef()
	return f, nil
}

// Type is "iso9660".
func (f *FS) Type() string { return "iso9660" }

// ReadOnly is always so.
func (f *FS) ReadOnly() bool { return true }

// Remote is false.
func (f *FS) Remote() bool { return false }

// Root returns the root directory.
func (f *FS) Root() (fs.Inode, error) {
	in, err := f.directory(f.vol.root)
	if err != nil {
		return nil, fmt.Errorf("root directory: %w", err)
	}
	return in, nil
}

// Statfs describes the volume. Nothing is free.
func (f *FS) Statfs() (fs.Statfs, error) {
	return fs.Statfs{
		Magic: magic, BlockSize: sectorSize, Blocks: uint64(f.vol.blocks), NameLen: maxName,
	}, nil
}

// Sync has nothing to do.
func (f *FS) Sync() error { return nil }

// Unmount has nothing to do.
func (f *FS) Unmount() error { return nil }

// Label returns the volume's name, for messages.
func (f *FS) Label() string { return f.vol.label }

// damaged says that the structure on disk is wrong.
func damaged(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), fs.EUCLEAN)
}

// maxReported bounds the lines that one volume adds to the log.
const maxReported = 32

// report logs an error of the structure or the device, once, and returns it.
func (f *FS) report(err error) error {
	if !errors.Is(err, syscall.EUCLEAN) && !errors.Is(err, syscall.EIO) {
		return err
	}
	line := err.Error()
	f.mu.Lock()
	fresh := !f.reported[line] && len(f.reported) < maxReported
	if fresh {
		f.reported[line] = true
	}
	f.mu.Unlock()
	if fresh {
		f.log(line)
	}
	return err
}
