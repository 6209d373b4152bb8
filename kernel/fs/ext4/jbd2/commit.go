package jbd2

import (
	"fmt"
	"syscall"
	"time"
)

// maxWrite bounds how much is given to the device at once: bytes.
const maxWrite = 512 << 10

// A stream writes consecutive blocks of the log, several at once.
type stream struct {
	l   *Log
	pos uint32 // of the next block
	off int64  // on the device, of buf
	buf []byte
}

// add returns a zeroed block at the stream's position, to be filled before the
// next call.
func (s *stream) add() ([]byte, error) {
	bs := s.l.blockSize
	off := s.l.place(s.pos)
	if len(s.buf) > 0 && (off != s.off+int64(len(s.buf)) || len(s.buf)+bs > cap(s.buf)) {
		if err := s.flush(); err != nil {
			return nil, err
		}
	}
	if len(s.buf) == 0 {
		s.off = off
	}
	s.pos = s.l.next(s.pos)
	n := len(s.buf)
	s.buf = s.buf[:n+bs]
	clear(s.buf[n:])
	return s.buf[n:], nil
}

func (s *stream) flush() error {
	if len(s.buf) == 0 {
		return nil
	}
	err := s.l.dev.WriteAt(s.buf, s.off)
	s.buf = s.buf[:0]
	if err != nil {
		return fmt.Errorf("journal: writing: %w", err)
	}
	return nil
}

// tagsPerBlock returns how many tags a descriptor block has room for.
func (l *Log) tagsPerBlock() int {
	const uuid = 16 // after the first tag
	return (l.blockSize - headerLen - uuid - l.feat.tailLen()) / l.feat.tagLen()
}

// revokesPerBlock returns how many numbers a revoke block has room for.
func (l *Log) revokesPerBlock() int {
	return (l.blockSize - headerLen - 4 - l.feat.tailLen()) / l.feat.revokeLen()
}

// size returns how many blocks of the log a transaction takes.
func (l *Log) size(blocks, revoked int) uint32 {
	t, r := l.tagsPerBlock(), l.revokesPerBlock()
	return uint32(blocks + (blocks+t-1)/t + (revoked+r-1)/r + 1)
}

// free returns how many blocks of the log are free.
//
// Context: mu held.
func (l *Log) free() uint32 {
	if len(l.live) == 0 {
		return l.end - l.first
	}
	used := l.head - l.live[0].start
	if l.head < l.live[0].start {
		used += l.end - l.first
	}
	return l.end - l.first - used
}

// Commit makes a transaction durable: the new content of blocks, and which
// blocks are metadata no more. When it returns, everything that was written to
// the device before it was called is durable too. After an error nothing can
// be committed any more.
func (l *Log) Commit(blocks []Block, revoked []uint64) error {
	l.mu.Lock()
	need := l.size(len(blocks), len(revoked)) + 1
	for l.dead == nil && l.free() < need {
		if len(l.live) == 0 {
			l.dead = fmt.Errorf("journal: a transaction of %d blocks in a log of %d: %w", need, l.end-l.first, syscall.EIO)
			break
		}
		l.mu.Unlock()
		if err := l.Checkpoint(); err != nil {
			return err
		}
		l.mu.Lock()
	}
	head, seq, dead := l.head, l.seq, l.dead
	l.mu.Unlock()
	if dead != nil {
		return dead
	}
	next, err := l.write(head, seq, blocks, revoked)
	if err != nil {
		return err
	}
	l.committed(transaction{seq, head}, next, blocks, revoked)
	return nil
}

// write writes a transaction to the log and returns where the next begins.
func (l *Log) write(head, seq uint32, blocks []Block, revoked []uint64) (next uint32, err error) {
	room := min(maxWrite, int(l.size(len(blocks), len(revoked)))*l.blockSize)
	s := &stream{l: l, pos: head, buf: make([]byte, 0, max(room, l.blockSize))}
	for per := l.tagsPerBlock(); len(blocks) > 0; {
		n := min(per, len(blocks))
		if err := l.writeBlocks(s, seq, blocks[:n]); err != nil {
			return 0, err
		}
		blocks = blocks[n:]
	}
	for per := l.revokesPerBlock(); len(revoked) > 0; {
		n := min(per, len(revoked))
		if err := l.writeRevokes(s, seq, revoked[:n]); err != nil {
			return 0, err
		}
		revoked = revoked[n:]
	}
	if err := s.flush(); err != nil {
		return 0, err
	}
	// The commit block may become durable only after all that it vouches for:
	// the blocks above, and content of files that they point to.
	if err := l.dev.Flush(); err != nil {
		return 0, fmt.Errorf("journal: flushing: %w", err)
	}
	d, err := s.add()
	if err != nil {
		return 0, err
	}
	putHeader(d, typeCommit, seq)
	now := time.Now()
	be.PutUint64(d[0x30:], uint64(now.Unix()))
	be.PutUint32(d[0x38:], uint32(now.Nanosecond()))
	if l.feat.csum() {
		be.PutUint32(d[commitCsum:], csumWithout(l.seed, d, commitCsum))
	}
	if err := s.flush(); err != nil {
		return 0, err
	}
	if err := l.dev.Flush(); err != nil {
		return 0, fmt.Errorf("journal: flushing: %w", err)
	}
	return s.pos, nil
}

// writeBlocks writes a descriptor and the blocks that it describes. The
// descriptor may have gone to the device before its tags are known, so they
// are computed first.
func (l *Log) writeBlocks(s *stream, seq uint32, blocks []Block) error {
	d, err := s.add()
	if err != nil {
		return err
	}
	putHeader(d, typeDescriptor, seq)
	at := headerLen
	for i, b := range blocks {
		t := tag{nr: b.Nr}
		if i > 0 {
			t.flags |= tagSameUUID
		}
		if i == len(blocks)-1 {
			t.flags |= tagLast
		}
		if be.Uint32(b.Data) == magic {
			t.flags |= tagEscape
		}
		if l.feat.csum() {
			t.csum = l.blockCsum(seq, escaped(b.Data))
		}
		l.feat.putTag(d[at:], t)
		at += l.feat.tagLen()
		if i == 0 {
			at += copy(d[at:at+16], l.super[sbUUID:])
		}
	}
	l.putTail(d)
	for _, b := range blocks {
		d, err := s.add()
		if err != nil {
			return err
		}
		copy(d, escaped(b.Data))
	}
	return nil
}

// escaped returns a block as it is in the log: it does not look like one of
// the journal's own.
func escaped(d []byte) []byte {
	if be.Uint32(d) != magic {
		return d
	}
	d = append([]byte(nil), d...)
	be.PutUint32(d, 0)
	return d
}

func (l *Log) writeRevokes(s *stream, seq uint32, revoked []uint64) error {
	d, err := s.add()
	if err != nil {
		return err
	}
	putHeader(d, typeRevoke, seq)
	at := headerLen + 4
	for _, nr := range revoked {
		if l.feat.revokeLen() == 8 {
			be.PutUint64(d[at:], nr)
		} else {
			be.PutUint32(d[at:], uint32(nr))
		}
		at += l.feat.revokeLen()
	}
	be.PutUint32(d[headerLen:], uint32(at))
	l.putTail(d)
	return nil
}

// putTail puts the checksum at the end of a descriptor or revoke block.
func (l *Log) putTail(d []byte) {
	if l.feat.csum() {
		at := len(d) - 4
		be.PutUint32(d[at:], csumWithout(l.seed, d, at))
	}
}

// committed records a transaction that is durable.
func (l *Log) committed(t transaction, next uint32, blocks []Block, revoked []uint64) {
	// Once Commit returns, revoked blocks may get content that no journal
	// protects. No checkpoint may still be writing what they were before.
	if len(revoked) > 0 {
		l.checkpointing.Lock()
		defer l.checkpointing.Unlock()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, nr := range revoked {
		delete(l.pending, nr)
	}
	for _, b := range blocks {
		l.pending[b.Nr] = version{b.Data, t.seq}
	}
	l.live = append(l.live, t)
	l.head, l.seq = next, t.seq+1
}
