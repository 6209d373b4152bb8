package jbd2

import (
	"cmp"
	"slices"
)

// A Replay says what Recover did.
type Replay struct {
	Transactions int
	Blocks       int // written to their places
	Revoked      int // not written since they were metadata no more
}

// A copyOf is a block in the log.
type copyOf struct {
	tag
	pos uint32 // in the log
	seq uint32
}

// recovery is the state of a scan of the log.
type recovery struct {
	l       *Log
	seq     uint32 // of the transaction that is expected
	count   int    // transactions that are complete
	last    map[uint64]copyOf
	revoked map[uint64]uint32 // the last transaction that revoked a block

	// Of the transaction that is being read:
	copies  []copyOf
	revokes []uint64
	crc     uint32 // of everything, for compatChecksum
}

// Recover writes the blocks of all complete transactions to their places and
// marks the log clean.
func (l *Log) Recover() (Replay, error) {
	r := &recovery{l: l, seq: be.Uint32(l.super[sbSequence:]), last: make(map[uint64]copyOf), revoked: make(map[uint64]uint32)}
	if l.Clean() {
		return Replay{}, nil
	}
	if err := r.scan(); err != nil {
		return Replay{}, err
	}
	res := Replay{Transactions: r.count}
	if err := r.replay(&res); err != nil {
		return res, err
	}
	if err := l.dev.Flush(); err != nil {
		return res, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	// A transaction that was cut off may have left blocks with the number
	// r.seq: it is not used again.
	return res, l.writeSuper(0, r.seq+1)
}

// scan reads the log from its tail up to where it ends.
func (r *recovery) scan() error {
	l := r.l
	d := make([]byte, l.blockSize)
	pos := be.Uint32(l.super[sbStart:])
	r.crc = ^uint32(0)
	// left bounds the walk: the log is a ring.
	for left := int(l.end - l.first); left > 0; left-- {
		if err := l.read(pos, d); err != nil {
			return err
		}
		if be.Uint32(d) != magic || be.Uint32(d[8:]) != r.seq {
			return nil
		}
		pos = l.next(pos)
		switch be.Uint32(d[4:]) {
		case typeDescriptor:
			n, ok, err := r.descriptor(d, pos, left-1)
			if err != nil || !ok {
				return err
			}
			for range n {
				pos = l.next(pos)
			}
			left -= n
		case typeRevoke:
			if ok, err := r.revokeBlock(d); err != nil || !ok {
				return err
			}
		case typeCommit:
			if !r.commit(d) {
				return nil
			}
		default:
			return nil
		}
	}
	return nil
}

// tailOK checks the checksum that ends a descriptor or revoke block.
func (l *Log) tailOK(d []byte) bool {
	at := len(d) - 4
	return !l.feat.csum() || be.Uint32(d[at:]) == csumWithout(l.seed, d, at)
}

// descriptor reads a descriptor block whose blocks begin at pos, and returns
// their number; ok is false if the log ends here.
func (r *recovery) descriptor(d []byte, pos uint32, left int) (n int, ok bool, err error) {
	l := r.l
	if !l.tailOK(d) {
		return 0, false, nil
	}
	r.checksum(d)
	end := len(d) - l.feat.tailLen()
	buf := make([]byte, l.blockSize)
	for at := headerLen; at+l.feat.tagLen() <= end; {
		t := l.feat.getTag(d[at:])
		if n++; n > left {
			return 0, false, nil
		}
		if t.nr >= l.blocks {
			return 0, false, damaged("transaction %d has block %d of %d", r.seq, t.nr, l.blocks)
		}
		if l.feat.compat&compatChecksum != 0 {
			if err := l.read(pos, buf); err != nil {
				return 0, false, err
			}
			r.checksum(buf)
		}
		r.copies = append(r.copies, copyOf{t, pos, r.seq})
		pos = l.next(pos)
		if t.flags&tagLast != 0 {
			break
		}
		at += l.feat.tagLen()
		if t.flags&tagSameUUID == 0 {
			at += 16
		}
	}
	return n, true, nil
}

func (r *recovery) checksum(d []byte) {
	if r.l.feat.compat&compatChecksum != 0 {
		r.crc = crc32be(r.crc, d)
	}
}

// revokeBlock reads a revoke block; ok is false if the log ends here.
func (r *recovery) revokeBlock(d []byte) (ok bool, err error) {
	l := r.l
	if !l.tailOK(d) {
		return false, nil
	}
	used := int(be.Uint32(d[headerLen:]))
	if used < headerLen+4 || used > len(d)-l.feat.tailLen() {
		return false, damaged("transaction %d has a revoke block of %d bytes", r.seq, used)
	}
	for at := headerLen + 4; at+l.feat.revokeLen() <= used; at += l.feat.revokeLen() {
		nr := uint64(be.Uint32(d[at:]))
		if l.feat.revokeLen() == 8 {
			nr = be.Uint64(d[at:])
		}
		r.revokes = append(r.revokes, nr)
	}
	return true, nil
}

// commit reads a commit block, which makes its transaction count. It returns
// false if it does not.
func (r *recovery) commit(d []byte) bool {
	l := r.l
	if l.feat.csum() && be.Uint32(d[commitCsum:]) != csumWithout(l.seed, d, commitCsum) {
		return false
	}
	const typeCRC32, crc32Len = 1, 4
	if l.feat.compat&compatChecksum != 0 && d[headerLen] == typeCRC32 && d[headerLen+1] == crc32Len &&
		be.Uint32(d[commitCsum:]) != r.crc {
		return false
	}
	for _, c := range r.copies {
		r.last[c.nr] = c
	}
	for _, nr := range r.revokes {
		r.revoked[nr] = r.seq
	}
	r.copies, r.revokes, r.crc = nil, nil, ^uint32(0)
	r.count++
	r.seq++
	return true
}

// replay writes the newest copy of each block, unless a transaction that is
// not older has revoked the block.
func (r *recovery) replay(res *Replay) error {
	l := r.l
	todo := make([]copyOf, 0, len(r.last))
	for nr, c := range r.last {
		if seq, ok := r.revoked[nr]; ok && int32(seq-c.seq) >= 0 {
			res.Revoked++
			continue
		}
		todo = append(todo, c)
	}
	slices.SortFunc(todo, func(a, b copyOf) int { return cmp.Compare(a.nr, b.nr) })
	d := make([]byte, l.blockSize)
	for _, c := range todo {
		if err := l.read(c.pos, d); err != nil {
			return err
		}
		if l.feat.csum() && l.blockCsum(c.seq, d) != c.csum {
			return damaged("transaction %d: the copy of block %d has a bad checksum", c.seq, c.nr)
		}
		if c.flags&tagEscape != 0 {
			be.PutUint32(d, magic)
		}
		if err := l.dev.WriteAt(d, int64(c.nr)*int64(l.blockSize)); err != nil {
			return err
		}
		res.Blocks++
	}
	return nil
}
