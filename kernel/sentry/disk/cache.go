package disk

import (
	"container/list"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/sentry/memmap"
	"gvisor.dev/gvisor/pkg/sentry/pgalloc"
	"gvisor.dev/gvisor/pkg/sentry/usage"
)

// Memory is the state of the machine's memory, in bytes.
type Memory struct {
	Total uint64
	Free  uint64 // beyond what is kept back for the kernel
}

// Options are what a Cache needs of the machine.
type Options struct {
	MemoryFile *pgalloc.MemoryFile
	// Memory returns how much there is. It may be nil: then it is plenty.
	Memory func() Memory
	// Populate gives frames to the pages of the memory file's mapping in b,
	// so that touching them cannot fail. It may be nil.
	Populate func(b []byte) error
	// Collect gives back memory that the kernel itself does not need. It takes
	// long, and is called when there is none else. It may be nil.
	Collect func()
}

// Cache is the page cache of all file systems.
type Cache struct {
	o      Options
	dirty  atomic.Int64 // pages
	limit  int64        // dirty pages beyond which writers wait
	start  int64        // dirty pages beyond which they are written back at once
	margin uint64       // bytes of memory that the cache leaves free
	window uint64       // most bytes read ahead

	mu      sync.Mutex
	room    *sync.Cond    // waits for dirty to go below limit
	chunks  list.List     // guarded by mu: *chunk, the latest first
	mounted []*Filesystem // guarded by mu, in the order of mounting

	wake  chan struct{} // there is something to write back, now
	timer chan struct{} // there is something dirty, for later
}

const (
	// expire is how old dirty pages get before they are written back.
	expire = 5 * time.Second

	minDirty, maxDirty   = 1 << 20, 256 << 20 // bytes
	minMargin, maxMargin = 2 << 20, 64 << 20  // bytes
	maxWindow            = 1 << 20            // bytes
)

// NewCache returns an empty cache.
func NewCache(o Options) *Cache {
	c := &Cache{o: o, wake: make(chan struct{}, 1), timer: make(chan struct{}, 1)}
	c.room = sync.NewCond(&c.mu)
	c.chunks.Init()
	total := uint64(1 << 30)
	if o.Memory != nil {
		total = o.Memory().Total
	}
	c.limit = int64(min(max(total/8, minDirty), maxDirty) / pageSize)
	c.start = c.limit / 4
	c.margin = min(max(total/16, minMargin), maxMargin)
	c.window = min(max(total/128, chunkSize), maxWindow) &^ (chunkSize - 1)
	go c.flusher()
	return c
}

// add notes a mounted file system.
func (c *Cache) add(d *Filesystem) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mounted = append(c.mounted, d)
}

func (c *Cache) remove(d *Filesystem) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mounted = slices.DeleteFunc(slices.Clone(c.mounted), func(o *Filesystem) bool { return o == d })
}

// filesystems returns those that are mounted.
func (c *Cache) filesystems() []*Filesystem {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.mounted)
}

// InUse reports whether anything is mounted, or a device file was opened.
func (c *Cache) InUse() bool { return len(c.filesystems()) > 0 }

// Shutdown unmounts everything, the latest first, for the machine's end.
// Programs have ended. What fails has a notice.
func (c *Cache) Shutdown() {
	for _, d := range slices.Backward(c.filesystems()) {
		if err := d.Shutdown(); err != nil {
			d.reporter.report("unmount", err)
		}
	}
}

// allocate returns length bytes of the memory file, mapped, without frames.
func (c *Cache) allocate(length uint64) (memmap.FileRange, []byte, error) {
	c.makeRoom(length)
	for {
		fr, err := c.o.MemoryFile.Allocate(length, pgalloc.AllocOpts{Kind: usage.PageCache})
		if err != nil {
			return fr, nil, err
		}
		b, err := mapping(c.o.MemoryFile, fr)
		if b == nil {
			// The next one cannot be across two mappings, too.
			defer c.o.MemoryFile.DecRef(fr)
		}
		if b != nil || err != nil {
			return fr, b, err
		}
	}
}

// makeRoom evicts chunks if memory would become short by length bytes more.
func (c *Cache) makeRoom(length uint64) {
	if c.o.Memory == nil {
		return
	}
	if free := c.o.Memory().Free; free < c.margin+length {
		c.evict(int((c.margin+length-free)/pageSize), false)
	}
}

// Reclaim gives back up to a number of pages because memory is short, and
// returns how many. With hard it takes pages from programs' mappings, too, and
// writes dirty ones back. The caller holds no lock.
func (c *Cache) Reclaim(pages int, hard bool) int {
	n := c.evict(pages, hard)
	if !hard || n >= pages {
		return n
	}
	for _, d := range c.filesystems() {
		_ = d.writeBack() // what fails is reported, and not dirty any more
		if f, ok := d.fs.(interface{ Shrink() int }); ok {
			n += f.Shrink() / pageSize
		}
	}
	return n + c.evict(pages-n, true)
}

// evict frees clean pages until there are enough, and returns how many.
func (c *Cache) evict(pages int, hard bool) (freed int) {
	c.mu.Lock()
	looks := 2 * c.chunks.Len() // the first may only find that it was used
	c.mu.Unlock()
	for ; looks > 0 && freed < pages; looks-- {
		c.mu.Lock()
		e := c.chunks.Back()
		if e == nil {
			c.mu.Unlock()
			return freed
		}
		ch := e.Value.(*chunk)
		used := ch.used.Swap(false)
		c.chunks.MoveToFront(e)
		c.mu.Unlock()
		if !used || hard {
			freed += ch.content.evict(ch, hard)
		}
	}
	return freed
}

// insert puts a chunk among those that can be evicted.
func (c *Cache) insert(ch *chunk) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch.element = c.chunks.PushFront(ch)
}

// drop frees a chunk's memory, at once. It is in no content any more.
func (c *Cache) drop(ch *chunk) {
	c.mu.Lock()
	c.chunks.Remove(ch.element)
	c.mu.Unlock()
	c.o.MemoryFile.Decommit(ch.fr)
	c.o.MemoryFile.DecRef(ch.fr)
}

// populate makes sure that touching b cannot fail.
func (c *Cache) populate(b []byte) error {
	if c.o.Populate == nil {
		return nil
	}
	err := c.o.Populate(b)
	if err != nil {
		c.evict(len(b)/pageSize+1, false)
		err = c.o.Populate(b)
	}
	// Files in memory can push the cache out altogether, while garbage of the
	// kernel's takes as much as its heap may: a read must not fail for that.
	if err != nil && c.o.Collect != nil {
		c.o.Collect()
		err = c.o.Populate(b)
	}
	return err
}

// addDirty counts pages that became dirty and wakes the flusher.
func (c *Cache) addDirty(pages int) {
	if pages == 0 {
		return
	}
	signal := c.timer
	if c.dirty.Add(int64(pages)) > c.start {
		signal = c.wake
	}
	select {
	case signal <- struct{}{}:
	default:
	}
}

// subDirty counts pages that are not dirty any more.
func (c *Cache) subDirty(pages int) {
	if pages == 0 {
		return
	}
	c.dirty.Add(-int64(pages))
	c.mu.Lock()
	c.room.Broadcast()
	c.mu.Unlock()
}

// throttle waits while there are too many dirty pages. The caller holds no
// lock.
func (c *Cache) throttle() {
	if c.dirty.Load() <= c.limit {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.dirty.Load() > c.limit {
		select {
		case c.wake <- struct{}{}:
		default:
		}
		c.room.Wait()
	}
}

// flusher writes back what is dirty: when it is much, or has been for long.
// Without dirty pages it sleeps for good.
func (c *Cache) flusher() {
	for {
		select {
		case <-c.wake:
		case <-c.timer:
			select {
			case <-c.wake:
			case <-time.After(expire):
			}
		}
		for _, d := range c.filesystems() {
			_ = d.writeBack() // reported by the node
		}
	}
}
