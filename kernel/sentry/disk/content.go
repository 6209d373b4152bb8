package disk

import (
	"container/list"
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/sentry/memmap"
)

// A chunk is the unit in which the cache takes memory: page frames are only
// taken for the pages that are in use.
const (
	pageShift  = 12
	pageSize   = 1 << pageShift
	chunkShift = 17
	chunkSize  = 1 << chunkShift
	chunkPages = chunkSize / pageSize
	allPages   = pageSet(1<<chunkPages - 1)
	allFile    = uint64(1 << 63 / pageSize) // pages, no file has more
)

// chunk holds chunkPages pages of a file. Its sets are guarded by content.mu.
type chunk struct {
	content *content
	index   uint64           // offset in the file, in chunks
	fr      memmap.FileRange // in the memory file
	mem     []byte           // mapped; its capacity reaches to the end of what was allocated with it

	present    pageSet // content is there
	zero       pageSet // not present, but known to be zero: nobody touched it
	busy       pageSet // being read
	dirty      pageSet // newer than on disk
	writing    pageSet // being written back
	writable   pageSet // dirty, and writable in a program
	translated pageSet // perhaps mapped in a program
	pins       int     // goroutines that use mem without mu

	used    atomic.Bool   // lately
	element *list.Element // guarded by Cache.mu
}

// inUse reports whether a chunk cannot be freed.
func (ch *chunk) inUse() bool { return ch.dirty|ch.busy|ch.writing != 0 || ch.pins > 0 }

// content is the cached content of a file.
type content struct {
	n     *node
	cache *Cache
	size  atomic.Uint64 // of the file; changes with node.mu and mu held
	dirty atomic.Int64  // pages; changes with mu held

	// writeMu lets one goroutine at a time write back.
	writeMu sync.Mutex

	mapsMu   sync.Mutex
	mappings memmap.MappingSet // guarded by mapsMu

	mu     sync.Mutex
	idle   *sync.Cond        // waits for pages that are busy
	chunks map[uint64]*chunk // guarded by mu
	lost   error             // guarded by mu: what was written back in vain since the last fsync
	cuts   uint64            // guarded by mu: how often blocks were taken from the file

	// Pages that nobody may load, because what is on disk changes.
	changing struct{ first, end uint64 } // guarded by mu

	// Memory for the chunks that will be needed next, if the file goes on to
	// be used in order.
	spare     memmap.FileRange // guarded by mu
	spareMem  []byte           // guarded by mu
	spareNext uint64           // guarded by mu: the chunk that spare is for
}

func newContent(n *node, size uint64) *content {
	c := &content{n: n, cache: n.d.cache, chunks: make(map[uint64]*chunk)}
	c.idle = sync.NewCond(&c.mu)
	c.size.Store(size)
	return c
}

// maxSpare is how much memory is set aside for a file that is used in order.
const maxSpare = 8 * chunkSize

// chunkAt returns the chunk at index, which it makes if there is none.
//
// Called with mu held, which it gives up for a time if it makes one.
func (c *content) chunkAt(index uint64) (*chunk, error) {
	if ch, ok := c.chunks[index]; ok {
		return ch, nil
	}
	if c.spare.Length() == 0 || c.spareNext != index {
		length := uint64(chunkSize)
		if c.spareNext == index && index > 0 {
			length = maxSpare
		}
		c.mu.Unlock()
		fr, mem, err := c.cache.allocate(length)
		c.mu.Lock()
		if err != nil {
			return nil, err
		}
		if ch, ok := c.chunks[index]; ok {
			c.cache.o.MemoryFile.DecRef(fr)
			return ch, nil
		}
		c.dropSpare()
		c.spare, c.spareMem = fr, mem
	}
	ch := &chunk{content: c, index: index, zero: allPages, mem: c.spareMem[:chunkSize],
		fr: memmap.FileRange{Start: c.spare.Start, End: c.spare.Start + chunkSize}}
	c.spare.Start += chunkSize
	c.spareMem = c.spareMem[chunkSize:]
	c.spareNext = index + 1
	c.chunks[index] = ch
	c.cache.insert(ch)
	return ch, nil
}

// dropSpare gives back the memory that was set aside.
//
// Called with mu held.
func (c *content) dropSpare() {
	if c.spare.Length() > 0 {
		c.cache.o.MemoryFile.DecRef(c.spare)
	}
	c.spare, c.spareMem = memmap.FileRange{}, nil
}

// pages calls f for the part of each chunk that lies in a range of pages, in
// order, until it returns false. The chunk may be nil.
//
// Called with mu held.
func (c *content) pages(first, end uint64, f func(index uint64, ch *chunk, set pageSet) bool) {
	for p := first; p < end; {
		index := p / chunkPages
		if !f(index, c.chunks[index], inChunk(p, end)) {
			return
		}
		p = (index + 1) * chunkPages
	}
}

// inChunk returns the pages from p to end that lie in p's chunk.
func inChunk(p, end uint64) pageSet {
	from := int(p % chunkPages)
	return pagesFrom(from, from+int(min(end-p, uint64(chunkPages-from))))
}

// setDirty marks pages dirty that are present.
//
// Called with mu held.
func (c *content) setDirty(ch *chunk, set pageSet) {
	n := (set &^ ch.dirty).count()
	ch.dirty |= set
	c.dirty.Add(int64(n))
	c.cache.addDirty(n)
}

// setClean is the opposite of setDirty.
//
// Called with mu held.
func (c *content) setClean(ch *chunk, set pageSet) {
	n := (set & ch.dirty).count()
	ch.dirty &^= set
	ch.writable &^= set
	c.dirty.Add(-int64(n))
	c.cache.subDirty(n)
}

// zeroFrom fills the rest of the page in which size lies with zeros, as far as
// it is cached: programs may have written there by a mapping.
//
// Called with mu held.
func (c *content) zeroFrom(size uint64) {
	if size%pageSize == 0 {
		return
	}
	ch := c.chunks[size>>chunkShift]
	if page := int(size % chunkSize / pageSize); ch != nil && ch.present&(1<<page) != 0 {
		clear(ch.mem[size%chunkSize : (page+1)*pageSize])
	}
}

// withdraw drops the pages from first up to end, dirty or not, also those that
// programs have mapped. It returns with mu held.
//
// Called without a lock after node.mu.
func (c *content) withdraw(first, end uint64) {
	for {
		c.mu.Lock()
		for _, ch := range c.chunks {
			ch.translated &^= ch.within(first, end)
		}
		c.mu.Unlock()
		c.unmap(first, end, false)
		c.mu.Lock()
		again := false
		for _, ch := range c.chunks {
			set := ch.within(first, end)
			if again = ch.translated&set != 0; again {
				break // a program has it mapped anew
			}
			if again = ch.busy&set != 0; again {
				c.idle.Wait()
				break
			}
		}
		if !again {
			c.discard(first, end)
			return
		}
		c.mu.Unlock()
	}
}

// within returns which of a chunk's pages lie in a range of the file's pages.
func (ch *chunk) within(first, end uint64) pageSet {
	from, to := ch.index*chunkPages, (ch.index+1)*chunkPages
	if to <= first || from >= end {
		return 0
	}
	return inChunk(max(first, from), min(end, to))
}

// discard drops the pages from first up to end, dirty or not. Programs do not
// have them mapped, and nobody writes them back.
//
// Called with mu held, which it gives up while pages are being read.
func (c *content) discard(first, end uint64) {
	for index, ch := range c.chunks {
		set := ch.within(first, end)
		if set == 0 {
			continue
		}
		for ch.busy&set != 0 {
			c.idle.Wait()
		}
		c.setClean(ch, set)
		ch.present &^= set
		ch.translated &^= set
		ch.zero &^= set
		if ch.present == 0 && !ch.inUse() && c.chunks[index] == ch {
			delete(c.chunks, index)
			c.cache.drop(ch)
		}
	}
}

// forget drops everything. Nobody has the file mapped.
func (c *content) forget() {
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.discard(0, allFile)
	c.dropSpare()
}

// evict frees a chunk if it is clean, and returns how many pages that was. With
// hard it waits for locks, and takes the chunk from programs that map it.
func (c *content) evict(ch *chunk, hard bool) int {
	if hard {
		c.mapsMu.Lock()
	} else if !c.mapsMu.TryLock() {
		return 0
	}
	defer c.mapsMu.Unlock()
	mr := memmap.MappableRange{Start: ch.index << chunkShift, End: (ch.index + 1) << chunkShift}
	mapped := !c.mappings.IsEmptyRange(mr)
	if mapped && !hard {
		return 0
	}
	if mapped {
		c.mu.Lock()
		busy := ch.inUse()
		ch.translated = 0
		c.mu.Unlock()
		if busy {
			return 0
		}
		c.mappings.Invalidate(mr, memmap.InvalidateOpts{})
	}
	if hard {
		c.mu.Lock()
	} else if !c.mu.TryLock() {
		return 0
	}
	defer c.mu.Unlock()
	if c.chunks[ch.index] != ch || ch.inUse() || mapped && ch.translated != 0 {
		return 0
	}
	delete(c.chunks, ch.index)
	c.cache.drop(ch)
	return ch.present.count()
}
