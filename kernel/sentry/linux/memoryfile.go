package linux

import (
	"reflect"
	"unsafe"

	"gvisor.dev/gvisor/pkg/atomicbitops"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/safemem"
	"gvisor.dev/gvisor/pkg/sentry/fsutil"
	"gvisor.dev/gvisor/pkg/sentry/memmap"
	"gvisor.dev/gvisor/pkg/sentry/pgalloc"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
	"gvisor.dev/gvisor/pkg/sync"
)

// Packages of gVisor whose structures are looked into.
const (
	tmpfsPackage   = "gvisor.dev/gvisor/pkg/sentry/fsimpl/tmpfs"
	overlayPackage = "gvisor.dev/gvisor/pkg/sentry/fsimpl/overlay"
)

// memoryFile is the inside of a regular file of gVisor's tmpfs, which does not let
// others see where a file has pages, nor take single pages from it.
//
// Locks, in this order: inodeMu, mapsMu, dataMu. size is written with inodeMu and
// dataMu held.
type memoryFile struct {
	file  unsafe.Pointer // *tmpfs.regularFile
	inode memoryInode

	mapsMu   *sync.Mutex
	mappings *memmap.MappingSet // guarded by mapsMu
	dataMu   *sync.RWMutex
	data     *fsutil.FileRangeSet // guarded by dataMu: what the file has, by offset
	seals    *uint32              // guarded by dataMu
	size     *atomicbitops.Uint64
}

// memoryInode is an inode of gVisor's tmpfs.
type memoryInode struct {
	at    unsafe.Pointer // *tmpfs.inode
	fs    unsafe.Pointer // *tmpfs.filesystem
	mu    *sync.Mutex
	mode  *atomicbitops.Uint32
	nlink *atomicbitops.Uint32
	impl  reflect.Value // *tmpfs.regularFile and others
	ino   uint64
	mf    *pgalloc.MemoryFile
}

//go:linkname overlayCurrentFD gvisor.dev/gvisor/pkg/sentry/fsimpl/overlay.(*regularFileFD).getCurrentFD
func overlayCurrentFD(fd unsafe.Pointer, ctx context.Context) (*vfs.FileDescription, error)

//go:linkname tmpfsAllocateLocked gvisor.dev/gvisor/pkg/sentry/fsimpl/tmpfs.(*regularFile).allocateLocked
func tmpfsAllocateLocked(file unsafe.Pointer, ctx context.Context, mode, newSize uint64, required memmap.MappableRange, cgroup uint32) error

//go:linkname tmpfsUnaccountPages gvisor.dev/gvisor/pkg/sentry/fsimpl/tmpfs.(*filesystem).unaccountPages
func tmpfsUnaccountPages(fs unsafe.Pointer, pages uint64)

// isType reports whether v is a pointer to a package's type.
func isType(v any, pkg, name string) bool {
	t := reflect.TypeOf(v)
	return t != nil && t.Kind() == reflect.Pointer && t.Elem().Name() == name && t.Elem().PkgPath() == pkg
}

// pointerOf returns the pointer that v is.
func pointerOf(v any) unsafe.Pointer { return reflect.ValueOf(v).UnsafePointer() }

// fieldOf returns a field of an addressable structure as a T, which it is or
// begins with.
func fieldOf[T any](v reflect.Value, name string) *T {
	f := v.FieldByName(name)
	if !f.IsValid() || f.Type().Size() < reflect.TypeFor[T]().Size() {
		panic("this version of gVisor has no field " + v.Type().String() + "." + name)
	}
	return (*T)(f.Addr().UnsafePointer())
}

// memoryFileOf returns the file in memory that is open as file, directly or as
// what an overlay shows; nil if it is of another kind. The caller calls release.
func memoryFileOf(ctx context.Context, file *vfs.FileDescription) (m *memoryFile, release func(), err error) {
	release = func() {}
	if isType(file.Impl(), overlayPackage, "regularFileFD") {
		if file, err = overlayCurrentFD(pointerOf(file.Impl()), ctx); err != nil {
			return nil, release, err
		}
		release = func() { file.DecRef(ctx) }
	}
	if !isType(file.Impl(), tmpfsPackage, "regularFileFD") {
		return nil, release, nil
	}
	inode := memoryInodeOf(file.Dentry())
	v := inode.impl.Elem()
	return &memoryFile{
		file:     inode.impl.UnsafePointer(),
		inode:    inode,
		mapsMu:   fieldOf[sync.Mutex](v, "mapsMu"),
		mappings: fieldOf[memmap.MappingSet](v, "mappings"),
		dataMu:   fieldOf[sync.RWMutex](v, "dataMu"),
		data:     fieldOf[fsutil.FileRangeSet](v, "data"),
		seals:    fieldOf[uint32](v, "seals"),
		size:     fieldOf[atomicbitops.Uint64](v, "size"),
	}, release, nil
}

// memoryInodeOf returns the inode of a dentry of tmpfs.
func memoryInodeOf(d *vfs.Dentry) memoryInode {
	v := reflect.ValueOf(d.Impl()).Elem().FieldByName("inode").Elem()
	fs := *fieldOf[unsafe.Pointer](v, "fs")
	return memoryInode{
		at:    v.Addr().UnsafePointer(),
		fs:    fs,
		mu:    fieldOf[sync.Mutex](v, "mu"),
		mode:  fieldOf[atomicbitops.Uint32](v, "mode"),
		nlink: fieldOf[atomicbitops.Uint32](v, "nlink"),
		impl:  v.FieldByName("impl").Elem(),
		ino:   *fieldOf[uint64](v, "ino"),
		mf:    *fieldOf[*pgalloc.MemoryFile](v.FieldByName("fs").Elem(), "mf"),
	}
}

// pageRange returns the pages that begin and end in a range of bytes.
func wholePages(off, end uint64) memmap.MappableRange {
	mr := memmap.MappableRange{Start: hostarch.PageRoundDown(off + hostarch.PageSize - 1), End: hostarch.PageRoundDown(end)}
	mr.End = max(mr.Start, mr.End)
	return mr
}

// zero makes bytes of the file zero, without pages that it has not yet, and
// takes whole pages from it.
//
// Called with inodeMu held.
func (m *memoryFile) zero(off, end uint64) error {
	whole := wholePages(off, end)
	m.dataMu.Lock()
	err := m.clear(off, min(end, whole.Start))
	if err == nil {
		err = m.clear(max(off, whole.End), end)
	}
	var taken []memmap.FileRange
	if err == nil && whole.Length() > 0 {
		taken = m.take(whole)
		m.state().unwritten.RemoveRange(whole)
	}
	m.dataMu.Unlock()
	m.giveBack(whole, taken)
	return err
}

// clear zeroes bytes of pages that the file has.
//
// Called with dataMu held.
func (m *memoryFile) clear(off, end uint64) error {
	for off < end {
		page := hostarch.PageRoundDown(off)
		to := min(end, page+hostarch.PageSize)
		if seg := m.data.FindSegment(off); seg.Ok() {
			b, err := m.inode.mf.MapInternal(seg.FileRangeOf(memmap.MappableRange{Start: off, End: to}), hostarch.Write)
			if err != nil {
				return err
			}
			if _, err := safemem.ZeroSeq(b); err != nil {
				return err
			}
		}
		off = to
	}
	return nil
}

// take takes pages from the file, which then has a hole there, and returns the
// memory, which the caller gives back.
//
// Called with dataMu held.
func (m *memoryFile) take(mr memmap.MappableRange) (taken []memmap.FileRange) {
	m.data.RemoveRangeWith(mr, func(seg fsutil.FileRangeIterator) { taken = append(taken, seg.FileRange()) })
	return taken
}

// giveBack gives back memory that was taken from the file, once no program has
// it mapped. mr is where programs may have other pages mapped than the file has.
//
// Called with inodeMu held.
func (m *memoryFile) giveBack(mr memmap.MappableRange, taken []memmap.FileRange) {
	if mr.Length() > 0 {
		m.mapsMu.Lock()
		m.mappings.Invalidate(mr, memmap.InvalidateOpts{})
		m.mapsMu.Unlock()
	}
	pages := uint64(0)
	for _, fr := range taken {
		pages += fr.Length() / hostarch.PageSize
		m.inode.mf.DecRef(fr)
	}
	tmpfsUnaccountPages(m.inode.fs, pages)
}

// allocate gives the file the pages of a range of bytes that it has not, and
// lets it grow to newSize if it is smaller.
//
// Called with inodeMu held.
func (m *memoryFile) allocate(ctx context.Context, off, end, newSize uint64) error {
	mr := memmap.MappableRange{Start: hostarch.PageRoundDown(off), End: hostarch.PageRoundDown(end + hostarch.PageSize - 1)}
	m.dataMu.Lock()
	state := m.state()
	for gap := m.data.LowerBoundGap(mr.Start); gap.Ok() && gap.Start() < mr.End; gap = gap.NextGap() {
		if r := gap.Range().Intersect(mr); r.Length() > 0 {
			state.unwritten.RemoveRange(r)
			state.unwritten.InsertRange(r, r.Start)
		}
	}
	m.dataMu.Unlock()
	const piece = 1 << 20 // between two looks for a signal
	for at := mr.Start; at < mr.End; at += piece {
		required := memmap.MappableRange{Start: at, End: min(at+piece, mr.End)}
		if err := tmpfsAllocateLocked(m.file, ctx, 0, 0, required, pgalloc.MemoryCgroupIDFromContext(ctx)); err != nil {
			return err
		}
		if ctx.Interrupted() {
			return errInterrupted
		}
	}
	m.resize(max(newSize, m.size.Load()))
	return nil
}

// resize sets the file's size; what lies behind it stays.
//
// Called with inodeMu held.
func (m *memoryFile) resize(size uint64) {
	m.dataMu.Lock()
	m.size.Store(size)
	m.dataMu.Unlock()
}

// shift moves all pages from offset from on to offset to. Where that is further
// ahead, what was between them is taken from the file; otherwise there is a hole.
//
// Called with inodeMu held.
func (m *memoryFile) shift(from, to uint64) {
	end := memmap.MappableRange{Start: min(from, to), End: ^uint64(hostarch.PageSize - 1)}
	type piece struct {
		at uint64
		fr memmap.FileRange
	}
	var moved []piece
	m.dataMu.Lock()
	var taken []memmap.FileRange
	if to < from {
		taken = m.take(memmap.MappableRange{Start: to, End: from})
	}
	m.data.RemoveRangeWith(memmap.MappableRange{Start: from, End: end.End}, func(seg fsutil.FileRangeIterator) {
		moved = append(moved, piece{seg.Start() - from + to, seg.FileRange()})
	})
	for _, p := range moved {
		m.data.InsertRange(memmap.MappableRange{Start: p.at, End: p.at + p.fr.Length()}, p.fr.Start)
	}
	m.state().unwritten.RemoveRange(end)
	m.dataMu.Unlock()
	m.giveBack(end, taken)
}

// isData reports whether a page of the file is data: one that was allocated
// without being written to is none until something is in it.
//
// Called with dataMu held.
func (m *memoryFile) isData(page uint64) bool {
	seg := m.data.FindSegment(page)
	if !seg.Ok() {
		return false
	}
	if s := m.state(); !s.unwritten.FindSegment(page).Ok() {
		return true
	}
	b, err := m.inode.mf.MapInternal(seg.FileRangeOf(memmap.MappableRange{Start: page, End: page + hostarch.PageSize}), hostarch.Read)
	if err != nil {
		return true
	}
	for ; !b.IsEmpty(); b = b.Tail() {
		for _, c := range b.Head().ToSlice() {
			if c != 0 {
				return true
			}
		}
	}
	return false
}

// find returns the first offset from off on that is data, or is none. The end of
// the file is none. ok is false if there is no such offset.
func (m *memoryFile) find(off uint64, data bool) (at uint64, ok bool) {
	m.dataMu.Lock()
	defer m.dataMu.Unlock()
	size := m.size.Load()
	if off >= size {
		return 0, false
	}
	for at = off; at < size; at = hostarch.PageRoundDown(at) + hostarch.PageSize {
		page := hostarch.PageRoundDown(at)
		if m.isData(page) == data {
			return at, true
		}
		if seg, gap := m.data.Find(page); data && !seg.Ok() && gap.Ok() {
			at = min(gap.End(), size) - 1 // on to where the file has pages
		}
	}
	return size, !data
}
