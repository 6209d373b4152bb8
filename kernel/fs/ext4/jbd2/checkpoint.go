package jbd2

import (
	"cmp"
	"fmt"
	"slices"
)

// Pending returns the committed content of a block that may not be in its
// place yet; nil if it is. It must not be changed.
func (l *Log) Pending(nr uint64) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pending[nr].data
}

// Full reports whether it is time for a checkpoint: the log is half full, or
// more than limit blocks are waiting in memory.
func (l *Log) Full(limit int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dead == nil && (l.free() < (l.end-l.first)/2 || len(l.pending) > limit)
}

// Checkpoint writes all committed blocks to their places and gives their room
// in the log back.
func (l *Log) Checkpoint() error {
	l.checkpointing.Lock()
	defer l.checkpointing.Unlock()
	l.mu.Lock()
	if l.dead != nil || len(l.live) == 0 {
		defer l.mu.Unlock()
		return l.dead
	}
	todo := make([]Block, 0, len(l.pending))
	for nr, v := range l.pending {
		todo = append(todo, Block{nr, v.data})
	}
	upTo := l.seq // not included
	l.mu.Unlock()

	if err := WriteBlocks(l.dev.WriteAt, l.blockSize, todo); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	// The log must not lose what is not durable in its place.
	if err := l.dev.Flush(); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead != nil {
		return l.dead
	}
	for _, b := range todo {
		// Another transaction may have committed the block meanwhile.
		if v, ok := l.pending[b.Nr]; ok && int32(v.seq-upTo) < 0 {
			delete(l.pending, b.Nr)
		}
	}
	keep := 0
	for keep < len(l.live) && int32(l.live[keep].seq-upTo) < 0 {
		keep++
	}
	tail := transaction{l.seq, l.head}
	if keep < len(l.live) {
		tail = l.live[keep]
	}
	// writeSuper flushes: the room is used again only after the tail is known
	// to have moved.
	if err := l.writeSuper(tail.start, tail.seq); err != nil {
		return err
	}
	l.live = slices.Delete(l.live, 0, keep)
	return nil
}

// WriteBlocks writes blocks to their places in order, neighbours together.
func WriteBlocks(writeAt func([]byte, int64) error, blockSize int, blocks []Block) error {
	slices.SortFunc(blocks, func(a, b Block) int { return cmp.Compare(a.Nr, b.Nr) })
	for len(blocks) > 0 {
		n := 1
		for n < len(blocks) && n < maxWrite/blockSize && blocks[n].Nr == blocks[0].Nr+uint64(n) {
			n++
		}
		buf := blocks[0].Data
		if n > 1 {
			buf = make([]byte, 0, n*blockSize)
			for _, b := range blocks[:n] {
				buf = append(buf, b.Data...)
			}
		}
		if err := writeAt(buf, int64(blocks[0].Nr)*int64(blockSize)); err != nil {
			return fmt.Errorf("writing %d blocks at %d: %w", n, blocks[0].Nr, err)
		}
		blocks = blocks[n:]
	}
	return nil
}
