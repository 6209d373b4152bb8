package jbd2

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"kiln/kernel/fs/block/blocktest"
)

const (
	testBlock  = 1024
	testBlocks = 8192
	logStart   = 100 // the journal is in two pieces
	logPiece   = 600
	logStart2  = 1000
	logPiece2  = 424
)

var testRuns = []Run{{logStart, logPiece}, {logStart2, logPiece2}}

// newDisk returns a disk with an empty journal.
func newDisk(t testing.TB) *blocktest.Memory {
	t.Helper()
	m := blocktest.NewMemory(testBlocks*testBlock, 512)
	s := make([]byte, testBlock)
	putHeader(s, typeSuperV2, 0)
	be.PutUint32(s[sbBlockSize:], testBlock)
	be.PutUint32(s[sbMaxLen:], logPiece+logPiece2)
	be.PutUint32(s[sbFirst:], 1)
	be.PutUint32(s[sbSequence:], 1)
	copy(s[sbUUID:], "0123456789abcdef")
	if err := m.WriteAt(s, logStart*testBlock); err != nil {
		t.Fatal(err)
	}
	return m
}

func open(t testing.TB, m *blocktest.Memory) *Log {
	t.Helper()
	l, err := Open(m, testBlock, testBlocks, testRuns)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func fill(b byte) []byte { return bytes.Repeat([]byte{b}, testBlock) }

func readBlock(t testing.TB, m *blocktest.Memory, nr int64) []byte {
	t.Helper()
	d := make([]byte, testBlock)
	if err := m.ReadAt(d, nr*testBlock); err != nil {
		t.Fatal(err)
	}
	return d
}

func commit(t testing.TB, l *Log, revoked []uint64, blocks ...Block) {
	t.Helper()
	if err := l.Commit(blocks, revoked); err != nil {
		t.Fatal(err)
	}
}

// formats are the features that change what the log looks like.
var formats = []struct {
	name     string
	incompat uint32
}{
	{"plain", incompatRevoke},
	{"64bit", incompatRevoke | incompat64Bit},
	{"v2", incompatRevoke | incompatCsumV2},
	{"v2-64bit", incompatRevoke | incompatCsumV2 | incompat64Bit},
	{"v3", incompatRevoke | incompatCsumV3},
	{"v3-64bit", incompatRevoke | incompatCsumV3 | incompat64Bit},
}

// start starts a log with the given features.
func start(t testing.TB, l *Log, incompat uint32) {
	t.Helper()
	if err := l.Start(false, incompat&(incompatCsumV2|incompatCsumV3) != 0); err != nil {
		t.Fatal(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.feat.incompat = incompat
	be.PutUint32(l.super[sbIncompat:], incompat)
	if err := l.writeSuper(l.head, l.seq); err != nil {
		t.Fatal(err)
	}
}

func TestReplay(t *testing.T) {
	looksLikeOurs := fill(9)
	be.PutUint32(looksLikeOurs, magic)
	for _, f := range formats {
		t.Run(f.name, func(t *testing.T) {
			m := newDisk(t)
			l := open(t, m)
			start(t, l, f.incompat)
			commit(t, l, nil, Block{3000, fill(1)}, Block{3001, fill(2)}, Block{3002, looksLikeOurs})
			commit(t, l, []uint64{3001}, Block{3000, fill(3)})
			commit(t, l, nil, Block{3003, fill(4)})
			commit(t, l, []uint64{3003, 3004}, Block{3005, fill(5)})
			commit(t, l, nil, Block{3003, fill(6)}) // metadata again
			if got := l.Pending(3000); !bytes.Equal(got, fill(3)) {
				t.Error("Pending has not the newest content")
			}
			if l.Pending(3001) != nil {
				t.Error("Pending has a revoked block")
			}
			if !bytes.Equal(readBlock(t, m, 3000), fill(0)) {
				t.Error("a block is in its place before a checkpoint")
			}
			again := open(t, m)
			res, err := again.Recover()
			if err != nil {
				t.Fatal(err)
			}
			if want := (Replay{5, 4, 1}); res != want {
				t.Errorf("Recover = %+v, want %+v", res, want)
			}
			for nr, want := range map[int64][]byte{3000: fill(3), 3001: fill(0), 3002: looksLikeOurs, 3003: fill(6), 3005: fill(5)} {
				if !bytes.Equal(readBlock(t, m, nr), want) {
					t.Errorf("block %d differs after replay", nr)
				}
			}
			third := open(t, m)
			if !third.Clean() {
				t.Error("not clean after Recover")
			}
		})
	}
}

// TestUnfinished cuts the last transaction at each of its blocks.
func TestUnfinished(t *testing.T) {
	for _, f := range formats {
		for cut := range 4 {
			m := newDisk(t)
			l := open(t, m)
			start(t, l, f.incompat)
			commit(t, l, nil, Block{3000, fill(1)})
			head := l.head
			commit(t, l, nil, Block{3000, fill(2)}, Block{3001, fill(2)})
			// Descriptor, two blocks, commit block: from cut on they are not there.
			for i := cut; i < 4; i++ {
				if err := m.WriteAt(fill(0xaa), l.place(head+uint32(i))); err != nil {
					t.Fatal(err)
				}
			}
			if res, err := open(t, m).Recover(); err != nil || res.Transactions != 1 {
				t.Errorf("%s, cut at %d: %+v, %v, want one transaction", f.name, cut, res, err)
			}
			if !bytes.Equal(readBlock(t, m, 3000), fill(1)) || !bytes.Equal(readBlock(t, m, 3001), fill(0)) {
				t.Errorf("%s, cut at %d: replayed an unfinished transaction", f.name, cut)
			}
		}
	}
}

// TestBadCopy damages a block of a finished transaction.
func TestBadCopy(t *testing.T) {
	for _, f := range formats[2:] {
		m := newDisk(t)
		l := open(t, m)
		start(t, l, f.incompat)
		commit(t, l, nil, Block{3000, fill(1)})
		if err := m.WriteAt(fill(7), l.place(2)); err != nil {
			t.Fatal(err)
		}
		if _, err := open(t, m).Recover(); !errors.Is(err, syscall.EUCLEAN) {
			t.Errorf("%s: Recover = %v, want EUCLEAN", f.name, err)
		}
	}
}

// TestWrap goes around the log many times and cuts at each transaction.
func TestWrap(t *testing.T) {
	m := newDisk(t)
	l := open(t, m)
	start(t, l, incompatRevoke|incompatCsumV3)
	r := rand.New(rand.NewPCG(1, 1))
	want := map[uint64]byte{}
	for i := range 300 {
		var blocks []Block
		var revoked []uint64
		used := map[uint64]bool{}
		for range 1 + r.IntN(60) {
			nr := 3000 + r.Uint64N(400)
			if used[nr] {
				continue
			}
			used[nr] = true
			if want[nr] != 0 && r.IntN(8) == 0 {
				revoked = append(revoked, nr)
				delete(want, nr)
				continue
			}
			want[nr] = byte(1 + r.IntN(255))
			blocks = append(blocks, Block{nr, fill(want[nr])})
		}
		commit(t, l, revoked, blocks...)
		if i%7 == 0 {
			if err := l.Checkpoint(); err != nil {
				t.Fatal(err)
			}
		}
		if i%5 != 0 {
			continue
		}
		c := m.Clone()
		if _, err := open(t, c).Recover(); err != nil {
			t.Fatalf("transaction %d: %v", i, err)
		}
		for nr, b := range want {
			if got := readBlock(t, c, int64(nr)); !bytes.Equal(got, fill(b)) {
				t.Fatalf("transaction %d: block %d has %d, want %d", i, nr, got[0], b)
			}
		}
	}
	if err := l.Stop(); err != nil {
		t.Fatal(err)
	}
	if !open(t, m).Clean() {
		t.Error("not clean after Stop")
	}
}

// TestLargeTransaction commits as much as is allowed.
func TestLargeTransaction(t *testing.T) {
	m := newDisk(t)
	l := open(t, m)
	start(t, l, incompatRevoke|incompat64Bit|incompatCsumV3)
	for round := range 8 {
		var blocks []Block
		for i := range l.MaxTransaction() {
			blocks = append(blocks, Block{uint64(3000 + i), fill(byte(round + i))})
		}
		var revoked []uint64
		for i := range 300 {
			revoked = append(revoked, uint64(5000+i))
		}
		commit(t, l, revoked, blocks...)
	}
	if _, err := open(t, m).Recover(); err != nil {
		t.Fatal(err)
	}
	for i := range l.MaxTransaction() {
		if got := readBlock(t, m, int64(3000+i))[0]; got != byte(7+i) {
			t.Fatalf("block %d has %d, want %d", 3000+i, got, byte(7+i))
		}
	}
}

func TestAbort(t *testing.T) {
	m := newDisk(t)
	l := open(t, m)
	start(t, l, incompatRevoke)
	commit(t, l, nil, Block{3000, fill(1)})
	why := errors.New("why")
	l.Abort(why, syscall.EIO)
	if err := l.Commit([]Block{{3001, fill(1)}}, nil); !errors.Is(err, why) {
		t.Errorf("Commit after Abort = %v, want why", err)
	}
	again := open(t, m)
	if got := again.Errno(); got != syscall.EIO {
		t.Errorf("Errno = %d, want EIO", got)
	}
	if res, err := again.Recover(); err != nil || res.Transactions != 1 {
		t.Errorf("Recover after Abort = %+v, %v", res, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, tt := range []struct {
		off  int64
		v    uint32
		want syscall.Errno
	}{
		{0, 1, syscall.EUCLEAN},
		{4, typeSuperV1, syscall.EOPNOTSUPP},
		{4, typeCommit, syscall.EUCLEAN},
		{sbBlockSize, 4096, syscall.EUCLEAN},
		{sbMaxLen, 1 << 20, syscall.EUCLEAN},
		{sbMaxLen, 10, syscall.EUCLEAN},
		{sbFirst, 0, syscall.EUCLEAN},
		{sbFirst, 1023, syscall.EUCLEAN},
		{sbStart, 5000, syscall.EUCLEAN},
		{sbIncompat, incompatFastCommit, syscall.EOPNOTSUPP},
		{sbIncompat, 0x8000, syscall.EOPNOTSUPP},
		{sbIncompat, incompatCsumV3, syscall.EUCLEAN}, // without a checksum
	} {
		m := newDisk(t)
		d := readBlock(t, m, logStart)
		be.PutUint32(d[tt.off:], tt.v)
		if err := m.WriteAt(d, logStart*testBlock); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(m, testBlock, testBlocks, testRuns); !errors.Is(err, tt.want) {
			t.Errorf("field %#x = %#x: Open = %v, want %v", tt.off, tt.v, err, tt.want)
		}
	}
}

func TestCRC32BE(t *testing.T) {
	// CRC-32/MPEG-2 in the catalogue of parametrised CRC algorithms.
	if got, want := crc32be(^uint32(0), []byte("123456789")), uint32(0x0376e6e7); got != want {
		t.Errorf("crc32be = %#x, want %#x", got, want)
	}
}

// TestOldChecksum checks the checksum of the whole transaction that journals
// before version 2 may have.
func TestOldChecksum(t *testing.T) {
	for _, bad := range []bool{false, true} {
		m := newDisk(t)
		l := open(t, m)
		start(t, l, incompatRevoke)
		commit(t, l, nil, Block{3000, fill(1)}, Block{3001, fill(2)})
		crc := ^uint32(0)
		for pos := range uint32(3) {
			d := make([]byte, testBlock)
			if err := l.read(1+pos, d); err != nil {
				t.Fatal(err)
			}
			crc = crc32be(crc, d)
		}
		if bad {
			crc++
		}
		d := make([]byte, testBlock)
		if err := l.read(4, d); err != nil {
			t.Fatal(err)
		}
		d[headerLen], d[headerLen+1] = 1, 4
		be.PutUint32(d[commitCsum:], crc)
		if err := m.WriteAt(d, l.place(4)); err != nil {
			t.Fatal(err)
		}
		be.PutUint32(l.super[sbCompat:], compatChecksum)
		if err := l.writeSuper(1, 1); err != nil {
			t.Fatal(err)
		}
		want := 1
		if bad {
			want = 0
		}
		if res, err := open(t, m).Recover(); err != nil || res.Transactions != want {
			t.Errorf("bad %v: Recover = %+v, %v, want %d transactions", bad, res, err, want)
		}
	}
}

// FuzzRecover damages a log.
func FuzzRecover(f *testing.F) {
	var disks []*blocktest.Memory
	for _, format := range formats {
		m := newDisk(f)
		l := open(f, m)
		start(f, l, format.incompat)
		for i := range 6 {
			commit(f, l, []uint64{uint64(3100 + i)}, Block{uint64(3000 + i), fill(byte(i))}, Block{3050, fill(byte(i))})
		}
		disks = append(disks, m)
	}
	f.Add(uint8(0), []byte{0, 4, 0})
	f.Add(uint8(5), []byte{0, 0x1c, 9, 4, 0x10, 1})
	f.Fuzz(func(t *testing.T, disk uint8, patches []byte) {
		m := disks[int(disk)%len(disks)].Clone()
		for ; len(patches) >= 3; patches = patches[3:] {
			off := int64(patches[0])<<8 | int64(patches[1])
			d := readBlock(t, m, logStart+off/testBlock)
			d[off%testBlock] = patches[2]
			if err := m.WriteAt(d, (logStart+off/testBlock)*testBlock); err != nil {
				t.Fatal(err)
			}
		}
		l, err := Open(m, testBlock, testBlocks, testRuns)
		if err != nil {
			return
		}
		res, err := l.Recover()
		if err == nil && res.Transactions > 6 {
			t.Error(fmt.Sprintf("%d transactions replayed of 6", res.Transactions))
		}
	})
}
