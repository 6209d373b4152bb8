// Package disk serves the file systems of kernel/fs to programs: it is a
// gVisor vfs.FilesystemImpl over any fs.Filesystem, with a tree of names, the
// permission checks, and a page cache in the Sentry's memory file that read,
// write and mmap share.
//
// docs/storage.md has the design. In short: a dentry is a name, a node is a
// file, whatever number of names it has, and a content is the cached pages of
// a node. A chunk of pages belongs to one content; the Cache knows all chunks,
// evicts clean ones when memory gets short, and writes dirty ones back.
//
// Lock order:
//
//	filesystem.treeMu
//	  dentry.childMu
//	node.mu
//	  content.writeMu
//	    content.mapsMu
//	      mm.activeMu (of a program's memory)
//	        content.mu
//	          Cache.mu
//	filesystem.nodesMu, filesystem.lruMu
//
// Translate is called with activeMu held, so it takes content.mu and nothing
// before it. No lock but treeMu and those of node and content before mapsMu is
// held during input or output; pages under way are marked in their chunk.
package disk

import (
	"fmt"
	"sync"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/sentry/ktime"
	"gvisor.dev/gvisor/pkg/sentry/vfs"

	"kiln/kernel/fs"
)

// Filesystem is one mounted file system.
type Filesystem struct {
	vfsfs    vfs.Filesystem
	fs       fs.Filesystem
	cache    *Cache
	clock    ktime.Clock
	devMinor uint32
	source   string // what the user calls it, for notices
	remote   bool
	reporter reporter
	root     *dentry

	// treeMu guards the shape of the tree: parent, name and deleted of
	// dentries. Whoever holds it may follow pointers without references.
	treeMu sync.RWMutex

	nodesMu sync.Mutex
	nodes   map[fs.Inode]*node // guarded by nodesMu: those with references
	closed  bool               // guarded by nodesMu: shut down
	work    int                // guarded by nodesMu: calls that Unmount waits for
	settled sync.Cond          // a node has fewer references or is gone, work is less; its lock is nodesMu

	lruMu    sync.Mutex
	lru      dentryList // guarded by lruMu: unreferenced dentries, the latest first
	trimming bool       // guarded by lruMu: a goroutine evicts dentries

	shutdownOnce sync.Once
	shutdownErr  error
}

var _ vfs.FilesystemImpl = (*Filesystem)(nil)

// maxUnused is how many dentries without references are kept.
const maxUnused = 1000

// New returns f as a mountable file system, and its root with a reference. The
// Filesystem takes over f. source is for messages; type t is what /proc/mounts
// shows.
func New(ctx context.Context, v *vfs.VirtualFilesystem, t vfs.FilesystemType, f fs.Filesystem, c *Cache, source string) (*Filesystem, error) {
	minor, err := v.GetAnonBlockDevMinor()
	if err != nil {
		return nil, err
	}
	d := &Filesystem{
		fs: f, cache: c, clock: ktime.RealtimeClockFromContext(ctx), devMinor: minor,
		source: source, remote: f.Remote(), nodes: make(map[fs.Inode]*node),
		reporter: reporter{source: source},
	}
	d.settled.L = &d.nodesMu
	i, err := f.Root()
	if err == nil {
		var n *node
		if n, err = d.node(i); err == nil {
			d.root = d.newDentry(n, nil, "")
		}
	}
	if err != nil {
		v.PutAnonBlockDevMinor(minor)
		return nil, fmt.Errorf("root directory: %w", err)
	}
	d.vfsfs.Init(v, t, d)
	c.add(d)
	return d, nil
}

// Mountable returns what vfs.FilesystemType.GetFilesystem does, with
// references for the caller.
func (d *Filesystem) Mountable() (*vfs.Filesystem, *vfs.Dentry) {
	return &d.vfsfs, &d.root.vfsd
}

// Release implements vfs.FilesystemImpl: the last mount is gone.
func (d *Filesystem) Release(ctx context.Context) {
	if err := d.Shutdown(); err != nil {
		d.reporter.report("unmount", err)
	}
	d.vfsfs.VirtualFilesystem().PutAnonBlockDevMinor(d.devMinor)
}

// Sync implements vfs.FilesystemImpl.
func (d *Filesystem) Sync(ctx context.Context) error {
	d.nodesMu.Lock()
	closed := d.closed
	if !closed {
		d.work++
	}
	d.nodesMu.Unlock()
	if closed {
		return d.errno(errClosed)
	}
	defer d.endWork()
	err := d.writeBack()
	if e := d.fs.Sync(); err == nil {
		err = e
	}
	return d.errno(err)
}

// endWork ends one of the calls that Unmount waits for.
func (d *Filesystem) endWork() {
	d.nodesMu.Lock()
	defer d.nodesMu.Unlock()
	d.work--
	d.settled.Broadcast()
}

// writeBack writes back what is dirty, but does not flush it.
func (d *Filesystem) writeBack() error {
	var first error
	for _, n := range d.dirtyNodes() {
		if !n.begin() {
			continue
		}
		if err := n.writeBack(); err != nil && first == nil {
			first = err
		}
		n.release()
	}
	return first
}

// Shutdown makes everything durable and unmounts, whoever still has files
// open: their descriptors fail with EIO from now on. Programs have ended.
func (d *Filesystem) Shutdown() error {
	d.shutdownOnce.Do(func() {
		first := d.writeBack()
		d.cache.remove(d)
		d.nodesMu.Lock()
		d.closed = true
		nodes := d.nodes
		d.nodes = nil
		d.nodesMu.Unlock()
		for _, n := range nodes {
			if err := n.close(); err != nil && first == nil {
				first = err
			}
		}
		d.nodesMu.Lock()
		for d.work > 0 {
			d.settled.Wait()
		}
		d.nodesMu.Unlock()
		if err := d.fs.Unmount(); first == nil {
			first = err
		}
		d.shutdownErr = first
	})
	return d.shutdownErr
}

// now returns the time in nanoseconds since 1970.
func (d *Filesystem) now() int64 { return d.clock.Now().Nanoseconds() }

// StatFSAt implements vfs.FilesystemImpl.
func (d *Filesystem) StatFSAt(ctx context.Context, rp *vfs.ResolvingPath) (linux.Statfs, error) {
	d.treeMu.RLock()
	_, err := d.resolve(ctx, rp)
	d.treeMu.RUnlock()
	if err != nil {
		return linux.Statfs{}, err
	}
	return d.statfs()
}

func (d *Filesystem) statfs() (linux.Statfs, error) {
	s, err := d.fs.Statfs()
	if err != nil {
		return linux.Statfs{}, d.errno(err)
	}
	return linux.Statfs{
		Type: s.Magic, BlockSize: s.BlockSize, FragmentSize: s.BlockSize,
		Blocks: s.Blocks, BlocksFree: s.BlocksFree, BlocksAvailable: s.BlocksAvail,
		Files: s.Files, FilesFree: s.FilesFree, NameLength: uint64(s.NameLen),
		FSID: [2]int32{int32(linux.UNNAMED_MAJOR), int32(d.devMinor)},
	}, nil
}

// MountOptions implements vfs.FilesystemImpl.
func (d *Filesystem) MountOptions() string { return "" }

// IsDescendant implements vfs.FilesystemImpl.
func (d *Filesystem) IsDescendant(vfsroot, vd vfs.VirtualDentry) bool {
	d.treeMu.RLock()
	defer d.treeMu.RUnlock()
	return isDescendant(vd.Dentry().Impl().(*dentry), vfsroot.Dentry())
}

// isDescendant reports whether d lies under root or is it.
//
// Called with treeMu held.
func isDescendant(d *dentry, root *vfs.Dentry) bool {
	for ; d != nil; d = d.parent {
		if &d.vfsd == root {
			return true
		}
	}
	return false
}
