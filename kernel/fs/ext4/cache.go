package ext4

import (
	"container/list"
	"sync"
	"sync/atomic"
	"weak"

	"kiln/kernel/fs/block"
)

// A kind says what a metadata block is, and thereby how its checksum is made.
type kind uint8

const (
	kindPlain kind = iota // no checksum of its own
	kindSuper
	kindDesc
	kindBlockBitmap
	kindInodeBitmap
	kindInodes
	kindIndirect
	kindExtents
	kindDir
	kindDxRoot
	kindDxNode
	kindXattr
	kindOrphans
)

// A buffer is a cached metadata block.
//
// Its bytes may be changed only after FS.dirty, which replaces them if a
// commit is still using them; a reader keeps the version that it got.
type buffer struct {
	nr    uint64
	ready chan struct{} // closed when data or err is set
	err   error
	data  atomic.Pointer[[]byte]

	kind  kind   // what it has been checked to be. Guarded by checkMu
	owner uint32 // seed of its inode's checksums, or number of its group
	check sync.Mutex

	joined bool // in the running transaction. Guarded by FS.mu
	frozen bool // a commit or the journal has its bytes. Guarded by FS.mu

	elem *list.Element // in cache.lru. Guarded by cache.mu
}

func (b *buffer) bytes() []byte { return *b.data.Load() }

func (b *buffer) set(d []byte) { b.data.Store(&d) }

// A cache keeps metadata blocks. Those of the running transaction stay; of the
// others, the least recently used go when there are too many.
type cache struct {
	dev       block.Device
	blockSize int
	max       int // buffers
	// pending returns the bytes of a block that are committed but not yet in
	// their place, nil if there are none.
	pending func(nr uint64) []byte

	mu      sync.Mutex
	buffers map[uint64]*buffer // guarded by mu
	lru     *list.List         // of *buffer that may go, oldest first. Guarded by mu
	// gone has buffers that went while somebody may still use them: a block
	// must not have two buffers. Guarded by mu.
	gone map[uint64]weak.Pointer[buffer]
}

func newCache(dev block.Device, blockSize, bytes int) *cache {
	return &cache{
		dev: dev, blockSize: blockSize, max: max(64, bytes/blockSize),
		pending: func(uint64) []byte { return nil },
		buffers: make(map[uint64]*buffer), lru: list.New(), gone: make(map[uint64]weak.Pointer[buffer]),
	}
}

// get returns block nr, which the caller has checked to be on the device.
func (c *cache) get(nr uint64) (*buffer, error) {
	c.mu.Lock()
	b := c.buffers[nr]
	if b == nil {
		if b = c.gone[nr].Value(); b != nil {
			delete(c.gone, nr)
			c.buffers[nr] = b
			b.elem = c.lru.PushBack(b)
		}
	}
	if b != nil {
		if b.elem != nil {
			c.lru.MoveToBack(b.elem)
		}
		c.mu.Unlock()
		<-b.ready
		return b, b.err
	}
	b = &buffer{nr: nr, ready: make(chan struct{})}
	c.buffers[nr] = b
	c.mu.Unlock()

	d := c.pending(nr)
	if d == nil {
		d = make([]byte, c.blockSize)
		b.err = c.dev.ReadAt(d, int64(nr)*int64(c.blockSize))
	} else {
		b.frozen = true
	}
	b.set(d)
	c.mu.Lock()
	if b.err != nil {
		delete(c.buffers, nr)
	} else {
		b.elem = c.lru.PushBack(b)
		c.trim(c.max)
	}
	c.mu.Unlock()
	close(b.ready)
	return b, b.err
}

// create returns block nr with the bytes d, without reading it.
//
// Context: FS.mu held.
func (c *cache) create(nr uint64, d []byte) *buffer {
	b := &buffer{nr: nr, ready: make(chan struct{})}
	close(b.ready)
	b.set(d)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(nr)
	c.buffers[nr] = b
	b.elem = c.lru.PushBack(b)
	c.trim(c.max)
	return b
}

// drop forgets the buffer of block nr.
//
// Context: mu held.
func (c *cache) drop(nr uint64) {
	if b := c.buffers[nr]; b != nil && b.elem != nil {
		c.lru.Remove(b.elem)
		b.elem = nil
	}
	delete(c.buffers, nr)
	delete(c.gone, nr)
}

// pin keeps b until unpin.
//
// Context: FS.mu held.
func (c *cache) pin(b *buffer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// It may have gone while its user had it.
	c.buffers[b.nr] = b
	delete(c.gone, b.nr)
	if b.elem != nil {
		c.lru.Remove(b.elem)
		b.elem = nil
	}
}

// unpin lets b go.
//
// Context: FS.mu held.
func (c *cache) unpin(b *buffer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.buffers[b.nr] == b && b.elem == nil {
		b.elem = c.lru.PushBack(b)
		c.trim(c.max)
	}
}

// forget drops block nr: it is metadata no more.
//
// Context: FS.mu held.
func (c *cache) forget(nr uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(nr)
}

// trim drops buffers until at most n may go, and returns how many it dropped.
//
// Context: mu held.
func (c *cache) trim(n int) int {
	dropped := 0
	for ; c.lru.Len() > n; dropped++ {
		b := c.lru.Remove(c.lru.Front()).(*buffer)
		b.elem = nil
		delete(c.buffers, b.nr)
		c.gone[b.nr] = weak.Make(b)
	}
	if len(c.gone) > 4*c.max {
		for nr, p := range c.gone {
			if p.Value() == nil {
				delete(c.gone, nr)
			}
		}
	}
	return dropped
}

// shrink drops all buffers that may go, and returns how many.
func (c *cache) shrink() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trim(0)
}
