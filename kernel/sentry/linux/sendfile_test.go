package linux

import (
	"testing"

	"gvisor.dev/gvisor/pkg/errors/linuxerr"
)

// TestInPieces: what a socket with room for a part makes of a long call, and how
// much is read of the file for it.
func TestInPieces(t *testing.T) {
	const size, piece = 1 << 20, 64 << 10
	for _, tt := range []struct {
		name             string
		room, interrupt  uint
		full             error
		done, read, call uint
		err              error
	}{
		{name: "room for all", room: size, done: size, read: size, call: 16},
		{name: "room for a part", room: 100000, full: linuxerr.ErrWouldBlock, done: 100000, read: 2 * piece, call: 2},
		{name: "room for whole pieces", room: 2 * piece, full: linuxerr.ErrWouldBlock, done: 2 * piece, read: 3 * piece, call: 3},
		{name: "no room", full: linuxerr.ErrWouldBlock, read: piece, call: 1, err: linuxerr.ErrWouldBlock},
		{name: "end of the file", room: 70000, done: 70000, read: 2 * piece, call: 2},
		{name: "interrupted", room: size, interrupt: 3, done: 3 * piece, read: 3 * piece, call: 3},
	} {
		var read, calls, taken uint
		done, err := InPieces(size, Pieces(piece), func() bool { return calls == tt.interrupt }, func(n uint) (uintptr, error) {
			calls++
			read += n
			k := min(n, tt.room-taken)
			taken += k
			if k < n && k == 0 {
				return 0, tt.full
			}
			return uintptr(k), nil
		})
		if done != tt.done || read != tt.read || calls != tt.call || err != tt.err {
			t.Errorf("%s: %d of %d bytes read, in %d calls, error %v; want %d of %d, in %d, error %v",
				tt.name, done, read, calls, err, tt.done, tt.read, tt.call, tt.err)
		}
	}
}

// TestPieceFor: a socket is given what it takes whole, up to a multiple of 8 bytes of
// the file.
func TestPieceFor(t *testing.T) {
	for _, tt := range []struct {
		offset uint64
		room   int64
		blocks bool
		done   uint
		want   uint
	}{
		{0, 1 << 20, false, 0, sendfileMost},
		{65536, 100000 - 65536, false, 65536, 34464},
		{0, 4099, true, 0, 4096},
		{0, 8, false, 0, 8},
		{64, 7, false, 64, 0},
		{64, 7, false, 0, sendfileLeast},
		{64, 0, true, 64, sendfileMost},
		{64, -300, false, 64, 0},
		{64, -300, false, 0, sendfileLeast},
		{67, 1 << 20, false, 0, 5},
		{67, 1 << 20, true, 3, 5},
		{67, 0, true, 3, 5},
		{67, 7, false, 3, 0},
		{67, 7, false, 0, sendfileLeast},
	} {
		if got := pieceFor(tt.offset, tt.room, tt.blocks, tt.done); got != tt.want {
			t.Errorf("from %d, room for %d, blocks %v, %d done: %d bytes next, want %d", tt.offset, tt.room, tt.blocks, tt.done, got, tt.want)
		}
	}
}
