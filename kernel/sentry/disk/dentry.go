package disk

import (
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/vfs"

	"kiln/kernel/fs"
)

// dentry is a name in the tree. It holds a reference to its parent and to its
// node. Those that nobody references are kept for a time; a remote file
// system's are not, as files there change by other hands.
type dentry struct {
	vfsd vfs.Dentry
	d    *Filesystem
	node *node
	refs atomic.Int64 // 0: in lru, unless deleted

	parent *dentry // guarded by treeMu; nil for the root
	name   string  // guarded by treeMu

	childMu  sync.Mutex
	children map[string]*dentry // guarded by childMu; without references

	deleted   atomic.Bool // changes with treeMu held: not in children any more
	destroyed atomic.Bool

	prev, next *dentry // guarded by lruMu
	listed     bool    // guarded by lruMu: in lru
}

var _ vfs.DentryImpl = (*dentry)(nil)

// newDentry returns a dentry for n, whose reference it takes over, with a
// reference for the caller.
func (d *Filesystem) newDentry(n *node, parent *dentry, name string) *dentry {
	e := &dentry{d: d, node: n, parent: parent, name: name}
	e.vfsd.Init(e)
	e.refs.Store(1)
	if parent != nil {
		parent.IncRef()
	}
	return e
}

// child returns the entry called name of directory dir, with a reference for
// the caller.
//
// Called with treeMu held.
func (d *Filesystem) child(dir *dentry, name string) (*dentry, error) {
	dir.childMu.Lock()
	defer dir.childMu.Unlock()
	known := dir.children[name]
	if known != nil && !d.remote {
		known.IncRef()
		return known, nil
	}
	if dir.node.isClosed() {
		return nil, linuxerr.EIO
	}
	i, err := dir.node.inode.Lookup(name)
	if err != nil {
		if known != nil {
			dir.forget(known)
		}
		return nil, d.errno(err)
	}
	n, err := d.node(i)
	if err != nil {
		return nil, err
	}
	if known != nil {
		if known.node == n {
			n.drop()
			known.IncRef()
			return known, nil
		}
		dir.forget(known)
	}
	e := d.newDentry(n, dir, name)
	dir.insert(e)
	return e, nil
}

// insert makes e a child.
//
// Called with childMu held.
func (dir *dentry) insert(e *dentry) {
	if dir.children == nil {
		dir.children = make(map[string]*dentry)
	}
	dir.children[e.name] = e
}

// forget takes a child out of the tree that is not there any more, or another
// file, by other hands than ours.
//
// Called with childMu held.
func (dir *dentry) forget(e *dentry) {
	delete(dir.children, e.name)
	e.deleted.Store(true)
	if e.refs.Load() == 0 {
		go e.tryDestroy() // not with locks held
	}
}

// IncRef implements vfs.DentryImpl.
func (e *dentry) IncRef() { e.refs.Add(1) }

// TryIncRef implements vfs.DentryImpl.
func (e *dentry) TryIncRef() bool {
	for {
		r := e.refs.Load()
		if r <= 0 {
			return false
		}
		if e.refs.CompareAndSwap(r, r+1) {
			return true
		}
	}
}

// DecRef implements vfs.DentryImpl.
func (e *dentry) DecRef(context.Context) { e.decRef() }

// decRef gives back a reference. The caller does not hold treeMu or childMu.
func (e *dentry) decRef() {
	if e.refs.Add(-1) > 0 {
		return
	}
	if e.deleted.Load() {
		e.tryDestroy()
		return
	}
	e.d.keep(e)
}

// tryDestroy ends a deleted dentry without references.
func (e *dentry) tryDestroy() {
	if e.d.remote {
		// It may have been deleted without treeMu for writing, and be on
		// the way of somebody who walks.
		e.d.treeMu.Lock()
		e.d.treeMu.Unlock() // only to have waited
	}
	if e.refs.Load() == 0 && e.deleted.Load() && e.destroyed.CompareAndSwap(false, true) {
		e.d.unlist(e)
		e.destroy()
	}
}

// destroy gives back what e holds.
func (e *dentry) destroy() {
	unlinked := e.deleted.Load()
	if unlinked && e.node.watches.Size() > 0 {
		if a, err := e.node.attr(); err == nil && a.Nlink == 0 {
			e.node.watches.HandleDeletion(context.Background())
		}
	}
	e.node.decRef()
	if e.parent != nil {
		e.parent.decRef()
	}
}

// keep puts an unreferenced dentry among those that may be evicted.
func (d *Filesystem) keep(e *dentry) {
	d.lruMu.Lock()
	// Between giving back the last reference and here, others may have used,
	// kept and evicted it.
	if e.refs.Load() == 0 && !e.deleted.Load() && !e.listed && !e.destroyed.Load() {
		d.lru.pushFront(e)
	}
	// One that was deleted in between is destroyed by whoever got here last.
	deleted := e.deleted.Load()
	most := maxUnused
	if d.remote {
		most = 0
	}
	trim := d.lru.length > most && !d.trimming
	d.trimming = d.trimming || trim
	d.lruMu.Unlock()
	if deleted {
		e.tryDestroy()
	}
	if trim {
		go d.trim(most)
	}
}

// unlist takes a dentry out of lru.
func (d *Filesystem) unlist(e *dentry) {
	d.lruMu.Lock()
	defer d.lruMu.Unlock()
	if e.listed {
		d.lru.remove(e)
	}
}

// trim evicts unreferenced dentries until there are at most so many.
func (d *Filesystem) trim(most int) {
	for {
		d.lruMu.Lock()
		if d.lru.length <= most {
			d.trimming = false
			d.lruMu.Unlock()
			return
		}
		d.lruMu.Unlock()
		if e := d.evictOne(); e != nil {
			e.destroy()
		}
	}
}

// evictOne takes the dentry that was unreferenced for the longest time out of
// the tree and returns it. It returns nil if it is in use again.
func (d *Filesystem) evictOne() *dentry {
	d.treeMu.Lock()
	defer d.treeMu.Unlock()
	d.lruMu.Lock()
	e := d.lru.back
	if e != nil {
		d.lru.remove(e)
	}
	d.lruMu.Unlock()
	// A socket's endpoint and watches are nowhere but here.
	if e == nil || e.refs.Load() != 0 || e.deleted.Load() || e.node.endpoint != nil || e.node.watches.Size() > 0 {
		return nil
	}
	if !e.destroyed.CompareAndSwap(false, true) {
		return nil
	}
	if e.parent != nil {
		e.parent.childMu.Lock()
		delete(e.parent.children, e.name)
		e.parent.childMu.Unlock()
	}
	d.unlist(e) // in case it was kept again since
	// It is no mount point: the VFS references those.
	d.vfsfs.VirtualFilesystem().InvalidateDentry(context.Background(), &e.vfsd)
	return e
}

// dentryList is a list of dentries, by their own links.
type dentryList struct {
	front, back *dentry
	length      int
}

func (l *dentryList) pushFront(e *dentry) {
	e.prev, e.next, e.listed = nil, l.front, true
	if l.front != nil {
		l.front.prev = e
	} else {
		l.back = e
	}
	l.front = e
	l.length++
}

func (l *dentryList) remove(e *dentry) {
	if e.prev != nil {
		e.prev.next = e.next
	} else {
		l.front = e.next
	}
	if e.next != nil {
		e.next.prev = e.prev
	} else {
		l.back = e.prev
	}
	e.prev, e.next, e.listed = nil, nil, false
	l.length--
}

// InotifyWithParent implements vfs.DentryImpl.
func (e *dentry) InotifyWithParent(ctx context.Context, events, cookie uint32, et vfs.EventType) {
	if e.node.isDir() {
		events |= linux.IN_ISDIR
	}
	e.d.treeMu.RLock()
	parent, name := e.parent, e.name
	if parent != nil {
		parent.IncRef()
	}
	e.d.treeMu.RUnlock()
	if parent != nil {
		parent.node.watches.Notify(ctx, name, events, cookie, et, e.deleted.Load())
		parent.decRef()
	}
	e.node.watches.Notify(ctx, "", events, cookie, et, e.deleted.Load())
}

// Watches implements vfs.DentryImpl.
func (e *dentry) Watches() *vfs.Watches { return &e.node.watches }

// OnZeroWatches implements vfs.DentryImpl.
func (e *dentry) OnZeroWatches(context.Context) {
	if e.refs.Load() == 0 && !e.deleted.Load() {
		e.d.keep(e)
	}
}

// drop gives back a reference that is not the last.
func (n *node) drop() {
	n.d.nodesMu.Lock()
	defer n.d.nodesMu.Unlock()
	n.refs--
	n.users--
}

// newChild makes the dentry of an inode that was just created in dir, with a
// reference for the caller.
//
// Called with treeMu held for writing.
func (d *Filesystem) newChild(dir *dentry, name string, i fs.Inode, prepare func(*node)) (*dentry, error) {
	n, err := d.node(i)
	if err != nil {
		return nil, err
	}
	if prepare != nil {
		prepare(n)
	}
	e := d.newDentry(n, dir, name)
	dir.childMu.Lock()
	dir.insert(e)
	dir.childMu.Unlock()
	return e, nil
}
