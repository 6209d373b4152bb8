package disk

import (
	"errors"
	"io"

	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/usermem"
)

// Files of a remote file system change by other hands: reads and writes go past
// the cache, which only holds what programs map. It follows at open(2).

// remoteBuffer is how much is moved at once, in bytes.
const remoteBuffer = 128 << 10

// readRemote reads from offset on into dst.
func (n *node) readRemote(ctx context.Context, dst usermem.IOSequence, offset int64) (done int64, err error) {
	if n.isClosed() {
		return 0, n.d.errno(errClosed)
	}
	if n.content.dirty.Load() > 0 { // by a mapping
		if err := n.content.writeBack(); err != nil {
			return 0, n.d.errno(err)
		}
	}
	buf := make([]byte, min(dst.NumBytes(), remoteBuffer))
	for dst.NumBytes() > 0 {
		got, err := n.inode.ReadAt(buf[:min(int64(len(buf)), dst.NumBytes())], offset)
		if err != nil && !errors.Is(err, io.EOF) {
			return done, n.d.errno(err)
		}
		copied, copyErr := dst.CopyOut(ctx, buf[:got])
		done += int64(copied)
		if copyErr == nil && done == 0 {
			copyErr = io.EOF
		}
		if copyErr != nil || err != nil || got == 0 {
			return done, copyErr
		}
		offset += int64(got)
		dst = dst.DropFirst(got)
	}
	return done, nil
}

// writeRemote writes src at offset.
//
// Called with mu held for writing.
func (n *node) writeRemote(ctx context.Context, src usermem.IOSequence, offset int64) (done int64, err error) {
	buf := make([]byte, min(src.NumBytes(), remoteBuffer))
	for src.NumBytes() > 0 {
		got, copyErr := src.CopyIn(ctx, buf[:min(int64(len(buf)), src.NumBytes())])
		wrote, err := n.inode.WriteAt(buf[:got], offset)
		n.content.overwrite(buf[:wrote], uint64(offset))
		done += int64(wrote)
		if err != nil {
			return done, err
		}
		if copyErr != nil || wrote < got {
			return done, copyErr
		}
		offset += int64(wrote)
		src = src.DropFirst(got)
	}
	return done, nil
}

// overwrite brings cached pages up to what was written past the cache.
func (c *content) overwrite(p []byte, off uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if end := off + uint64(len(p)); end > c.size.Load() {
		c.size.Store(end)
	}
	for len(p) > 0 {
		at := int(off % pageSize)
		n := min(len(p), pageSize-at)
		page := int(off % chunkSize / pageSize)
		if ch := c.chunks[off>>chunkShift]; ch != nil && ch.present&(1<<page) != 0 {
			copy(ch.mem[off%chunkSize:], p[:n])
		}
		p, off = p[n:], off+uint64(n)
	}
}

// refresh takes over the size of a remote file, and drops what is cached of it
// if nobody has it mapped.
func (c *content) refresh() error {
	a, err := c.n.attr()
	if err != nil {
		return err
	}
	if err := c.writeBack(); err != nil {
		return c.n.d.errno(err)
	}
	c.mapsMu.Lock()
	defer c.mapsMu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.size.Store(a.Size)
	if !c.mappings.IsEmpty() {
		return nil
	}
	c.discard(0, allFile)
	return nil
}
