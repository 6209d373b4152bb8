package jbd2

import (
	"fmt"
	"sync"
	"syscall"

	"kiln/kernel/fs/block"
)

// A Run is a range of the device's blocks.
type Run struct{ Start, Count uint64 }

// A Block is a metadata block with its new content, which nobody changes any
// more.
type Block struct {
	Nr   uint64
	Data []byte
}

// A Log is a journal.
type Log struct {
	dev       block.Device
	blockSize int
	blocks    uint64 // of the file system; larger numbers are damage
	runs      []Run  // where the journal is
	feat      features
	seed      uint32 // of checksums
	first     uint32 // first block of the log
	end       uint32 // one past its last

	// checkpointing is held while blocks are written to their places.
	checkpointing sync.Mutex

	mu      sync.Mutex
	super   []byte             // raw. Guarded by mu
	head    uint32             // where the next transaction begins. Guarded by mu
	seq     uint32             // its sequence number. Guarded by mu
	live    []transaction      // not yet all in place, oldest first. Guarded by mu
	pending map[uint64]version // committed, not yet in place. Guarded by mu
	dead    error              // why nothing is written any more. Guarded by mu
}

// A transaction is one in the log.
type transaction struct {
	seq   uint32
	start uint32 // its first block
}

// A version is a block's content as of a transaction.
type version struct {
	data []byte
	seq  uint32
}

// Open reads the superblock of the journal that the runs of blocks hold. It
// fails with EUCLEAN if it is damaged, EOPNOTSUPP for unknown features.
func Open(dev block.Device, blockSize int, blocks uint64, runs []Run) (*Log, error) {
	l := &Log{dev: dev, blockSize: blockSize, blocks: blocks, runs: runs, pending: make(map[uint64]version)}
	d := make([]byte, blockSize)
	if err := l.read(0, d); err != nil {
		return nil, err
	}
	l.super = d[:sbLen]
	s := l.super
	if be.Uint32(s) != magic {
		return nil, damaged("superblock: magic %#x", be.Uint32(s))
	}
	if typ := be.Uint32(s[4:]); typ == typeSuperV1 {
		return nil, fmt.Errorf("journal of version 1: %w", syscall.EOPNOTSUPP)
	} else if typ != typeSuperV2 {
		return nil, damaged("superblock: type %d", typ)
	}
	l.feat = features{be.Uint32(s[sbCompat:]), be.Uint32(s[sbIncompat:])}
	if unknown := l.feat.incompat &^ incompatKnown; unknown == incompatFastCommit {
		return nil, fmt.Errorf("journal: the feature fast_commit is not known: %w", syscall.EOPNOTSUPP)
	} else if unknown != 0 {
		return nil, fmt.Errorf("journal: features %#x are not known: %w", unknown, syscall.EOPNOTSUPP)
	}
	l.seed = crc32c(^uint32(0), s[sbUUID:sbUUID+16])
	if l.feat.csum() {
		if s[sbCsumType] != csumTypeCRC32C {
			return nil, damaged("superblock: checksum type %d", s[sbCsumType])
		}
		if got, want := be.Uint32(s[sbCsum:]), csumWithout(^uint32(0), s, sbCsum); got != want {
			return nil, damaged("superblock: checksum %#x, computed %#x", got, want)
		}
	}
	return l, l.checkSuper()
}

// checkSuper checks sizes.
func (l *Log) checkSuper() error {
	s := l.super
	total := uint64(0)
	for _, r := range l.runs {
		total += r.Count
	}
	l.first, l.end = be.Uint32(s[sbFirst:]), be.Uint32(s[sbMaxLen:])
	switch {
	case int(be.Uint32(s[sbBlockSize:])) != l.blockSize:
		return damaged("superblock: blocks of %d bytes", be.Uint32(s[sbBlockSize:]))
	case uint64(l.end) > total || l.end < minLog:
		return damaged("superblock: length %d in a file of %d blocks", l.end, total)
	case l.first == 0 || l.first > l.end-minLog/2:
		return damaged("superblock: log from %d to %d", l.first, l.end)
	}
	if start := be.Uint32(s[sbStart:]); start != 0 && (start < l.first || start >= l.end) {
		return damaged("superblock: log starts at %d, not between %d and %d", start, l.first, l.end)
	}
	return nil
}

// Clean reports whether there is nothing to replay.
func (l *Log) Clean() bool { return be.Uint32(l.super[sbStart:]) == 0 }

// Errno returns the error for which the journal was aborted, 0 if it was not.
func (l *Log) Errno() syscall.Errno {
	return syscall.Errno(-int32(be.Uint32(l.super[sbErrno:])))
}

// MaxTransaction returns how many blocks a transaction may have, so that
// several fit into the log.
func (l *Log) MaxTransaction() int { return int(l.end-l.first) / 4 }

// place returns the offset on the device of block pos of the journal.
func (l *Log) place(pos uint32) int64 {
	at := uint64(pos)
	for _, r := range l.runs {
		if at < r.Count {
			return int64(r.Start+at) * int64(l.blockSize)
		}
		at -= r.Count
	}
	panic(fmt.Sprintf("jbd2: block %d is outside of the journal", pos))
}

func (l *Log) read(pos uint32, d []byte) error {
	if err := l.dev.ReadAt(d, l.place(pos)); err != nil {
		return fmt.Errorf("journal: reading block %d: %w", pos, err)
	}
	return nil
}

// next returns the position after pos in the ring.
func (l *Log) next(pos uint32) uint32 {
	if pos++; pos == l.end {
		return l.first
	}
	return pos
}

// writeSuper writes the superblock with a new tail: 0 if the log is empty and
// stays so.
//
// Context: mu held.
func (l *Log) writeSuper(start, seq uint32) error {
	s := l.super
	be.PutUint32(s[sbStart:], start)
	be.PutUint32(s[sbSequence:], seq)
	if l.feat.csum() {
		be.PutUint32(s[sbCsum:], csumWithout(^uint32(0), s, sbCsum))
	}
	d := make([]byte, max(l.dev.SectorSize(), sbLen))
	if len(d) > sbLen {
		if err := l.dev.ReadAt(d, l.place(0)); err != nil {
			return err
		}
	}
	copy(d, s)
	if err := l.dev.WriteAt(d, l.place(0)); err != nil {
		return fmt.Errorf("journal: writing superblock: %w", err)
	}
	return l.dev.Flush()
}

// Start makes the log, which is clean, ready for Commit. wide says that block
// numbers need more than 32 bits, csum that blocks get checksums.
func (l *Log) Start(wide, csum bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.feat = features{l.feat.compat &^ compatChecksum, incompatRevoke}
	if wide {
		l.feat.incompat |= incompat64Bit
	}
	if csum {
		l.feat.incompat |= incompatCsumV3
		l.super[sbCsumType] = csumTypeCRC32C
	}
	be.PutUint32(l.super[sbCompat:], l.feat.compat)
	be.PutUint32(l.super[sbIncompat:], l.feat.incompat)
	be.PutUint32(l.super[sbErrno:], 0)
	l.head = l.first
	if l.seq = be.Uint32(l.super[sbSequence:]); l.seq == 0 {
		l.seq = 1
	}
	return l.writeSuper(l.head, l.seq)
}

// Stop brings everything to its place and marks the log clean.
func (l *Log) Stop() error {
	if err := l.Checkpoint(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead != nil {
		return l.dead
	}
	return l.writeSuper(0, l.seq)
}

// Abort stops all writing, and records why as well as the device allows.
func (l *Log) Abort(why error, errno syscall.Errno) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead != nil {
		return
	}
	l.dead = why
	be.PutUint32(l.super[sbErrno:], uint32(-int32(errno)))
	// The tail stays as it is on the disk. An error here adds nothing.
	_ = l.writeSuper(be.Uint32(l.super[sbStart:]), be.Uint32(l.super[sbSequence:]))
}
