package erofs

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
)

// magic begins the superblock.
const magic = 0xe0f5e1e2

// Bits of an inode's format.
const (
	formatExtended = 1 << 0 // 64-byte inode
	formatInline   = 2 << 1 // the data's tail lies behind the inode
)

// WriteTo writes the image, p.Size() bytes. It fails if a file's content is
// not as long as was said.
func (p *Plan) WriteTo(w io.Writer) (int64, error) {
	out := &counter{w: bufio.NewWriterSize(w, 1<<20)}
	out.write(p.superblock())
	out.write(p.metadata())
	for _, n := range p.nodes {
		if n.size-n.tail() > 0 && out.err == nil {
			p.writeData(out, n)
		}
	}
	if out.err == nil {
		out.err = out.w.Flush()
	}
	if out.err == nil && out.n != p.size {
		out.err = fmt.Errorf("erofs: wrote %d bytes, planned %d", out.n, p.size)
	}
	return out.n, out.err
}

// superblock returns the image's first block. It has no checksum of its own:
// Kiln's images have one over everything, and for the guest to verify one would
// cost each boot milliseconds.
func (p *Plan) superblock() []byte {
	b := make([]byte, BlockSize)
	s := b[superOffset:]
	le := binary.LittleEndian
	le.PutUint32(s[0:], magic)
	s[12] = 12 // log2 of BlockSize
	le.PutUint16(s[14:], uint16(p.root.nid))
	le.PutUint64(s[16:], uint64(len(p.nodes)))
	le.PutUint32(s[36:], uint32(p.size/BlockSize))
	le.PutUint32(s[40:], metaBlock)
	return b
}

// metadata returns the inodes, with what lies behind them.
func (p *Plan) metadata() []byte {
	b := make([]byte, p.meta)
	for _, n := range p.nodes {
		at := b[n.nid*slotSize:]
		n.putInode(at)
		if tail := n.tail(); tail > 0 {
			data := n.data()
			copy(at[n.inodeSize():], data[int64(len(data))-tail:])
		}
	}
	return b
}

// putInode writes n's inode to b.
func (n *node) putInode(b []byte) {
	le := binary.LittleEndian
	var format uint16
	if n.tail() > 0 {
		format |= formatInline
	}
	le.PutUint16(b[4:], n.mode)
	le.PutUint32(b[16:], n.block)
	le.PutUint32(b[20:], n.ino)
	if n.compact() {
		le.PutUint16(b[6:], uint16(n.links()))
		le.PutUint32(b[8:], uint32(n.size))
		le.PutUint16(b[24:], uint16(n.uid))
		le.PutUint16(b[26:], uint16(n.gid))
	} else {
		format |= formatExtended
		le.PutUint64(b[8:], uint64(n.size))
		le.PutUint32(b[24:], n.uid)
		le.PutUint32(b[28:], n.gid)
		le.PutUint64(b[32:], uint64(n.mtime))
		le.PutUint32(b[44:], uint32(n.links()))
	}
	le.PutUint16(b[0:], format)
}

// data returns the data of a directory or symbolic link.
func (n *node) data() []byte {
	if n.is(modeSymlink) {
		return []byte(n.target)
	}
	return direntData(n)
}

// writeData writes the data blocks of n.
func (p *Plan) writeData(out *counter, n *node) {
	if want := int64(n.block) * BlockSize; out.n != want {
		out.err = fmt.Errorf("erofs: %s: data at %#x, planned %#x", n.name, out.n, want)
		return
	}
	if n.is(modeRegular) {
		out.err = n.copyContent(out)
	} else {
		out.write(n.data()[:n.size-n.tail()])
	}
	out.write(make([]byte, roundUp(out.n, BlockSize)-out.n))
}

// copyContent copies a regular file's data.
func (n *node) copyContent(out *counter) error {
	r, err := n.content()
	if err != nil {
		return err
	}
	defer r.Close()
	// One byte more, to notice a file that grew.
	got, err := io.Copy(out, io.LimitReader(r, n.size+1))
	if err != nil {
		return err
	}
	if got != n.size {
		return fmt.Errorf("%s changed its size while it was read", n.name)
	}
	return nil
}

// A counter writes until the first error, and counts.
type counter struct {
	w   *bufio.Writer
	n   int64
	err error
}

// Write implements io.Writer.
func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

func (c *counter) write(b []byte) {
	if c.err == nil {
		_, c.err = c.Write(b)
	}
}
