package linux

import (
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/marshal/primitive"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/socket"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
)

// sendfileCorrection: sendfile(2) to a socket that has room for a part.
//
// Linux reads from the file what fits into a pipe of 64 KB, gives that to the
// socket, and goes on while the socket takes it (splice_direct_to_actor in
// fs/splice.c).
//
// gVisor reads up to 1 MB of the file, and throws away what the socket does not
// take. Where the socket does not block, the program calls again when there is
// room: to send 1 MB to a socket that takes 64 KB at a time, 8 MB are read.
// test/linux/src/sendfile.c, and test/e2e's folder.txt for the time.
//
// So a call is made in pieces of what there is room for, until one is not taken whole.
//
// Pieces end at multiples of pieceUnit: the Go runtime copies what begins elsewhere by
// the byte where the CPU has no AVX, which was a third of what a large file cost.
var sendfileCorrection = correction{
	name:  "sendfile",
	calls: map[uintptr]Wrapper{unix.SYS_SENDFILE: sendfileInPieces},
}

// What is read at once, in bytes.
const (
	sendfileMost  = 64 << 10
	sendfileLeast = 4 << 10 // what does not fit is read again
	pieceUnit     = 8
)

// sendfileInPieces wraps sendfile(2). Both offsets, the program's and the file's,
// move with each piece.
func sendfileInPieces(next kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, nr uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		size := args[3].SizeT()
		if size <= sendfileLeast || int(size) < 0 {
			return next(t, nr, args)
		}
		file := t.GetFile(args[0].Int())
		if file == nil {
			return next(t, nr, args)
		}
		defer file.DecRef(t)
		piece := sendfilePiece(t, file, args)
		if piece == nil {
			return next(t, nr, args)
		}
		n, err := InPieces(size, piece, t.Interrupted, func(n uint) (uintptr, error) {
			args[3].Value = uintptr(n)
			done, _, err := next(t, nr, args)
			return done, err
		})
		return uintptr(n), nil, err
	}
}

// InPieces moves size bytes by move, and returns how many it has moved. piece says
// how many to move next, when so many are done. It ends where piece is 0, where move
// takes less or fails, or where the task is to stop. An error after something was moved
// is the next call's.
func InPieces(size uint, piece func(done uint) uint, stop func() bool, move func(uint) (uintptr, error)) (done uint, err error) {
	for {
		want := min(size-done, piece(done))
		if want == 0 {
			return done, nil
		}
		n, err := move(want)
		done += uint(n)
		switch {
		case done == 0:
			return 0, err
		case err != nil || uint(n) < want || done == size || stop():
			return done, nil
		}
	}
}

// Pieces are pieces of one size, for InPieces.
func Pieces(size uint) func(uint) uint { return func(uint) uint { return size } }

// sendfilePiece returns what says how much to read next for a file, as piece of
// InPieces; nil if the file is no socket.
func sendfilePiece(t *kernel.Task, file *vfs.FileDescription, args arch.SyscallArguments) func(done uint) uint {
	switch s := file.Impl().(type) {
	case *tcpSocket:
		from, blocks := sendfileOffset(t, args), file.StatusFlags()&linux.O_NONBLOCK == 0
		return func(done uint) uint {
			room := s.options.GetSendBufferSize() - int64(tcpFields.unacknowledged(s.ep))
			return pieceFor(from+uint64(done), room, blocks, done)
		}
	case socket.Socket:
		return Pieces(sendfileMost)
	}
	return nil
}

// sendfileOffset returns where a sendfile begins to read, or 0 where the call will
// fail.
func sendfileOffset(t *kernel.Task, args arch.SyscallArguments) uint64 {
	if at := args[2].Pointer(); at != 0 {
		var offset uint64
		if _, err := primitive.CopyUint64In(t, at, &offset); err != nil {
			return 0
		}
		return offset
	}
	file := t.GetFile(args[1].Int())
	if file == nil {
		return 0
	}
	defer file.DecRef(t)
	offset, err := file.Seek(t, 0, linux.SEEK_CUR)
	if err != nil {
		return 0
	}
	return uint64(offset)
}

// pieceFor returns how much to read next, from an offset of the file, for a TCP socket
// with so much room, after done bytes. It is 0 where the call is to end. A socket that
// took its last few bytes left the offset anywhere: the next few end at a multiple.
func pieceFor(offset uint64, room int64, blocks bool, done uint) uint {
	switch beyond := uint(offset % pieceUnit); {
	case beyond != 0 && (room >= pieceUnit || blocks):
		return pieceUnit - beyond
	case room >= pieceUnit:
		return uint(min(room, sendfileMost) &^ (pieceUnit - 1))
	case blocks:
		return sendfileMost
	case done > 0:
		return 0
	}
	return sendfileLeast // gVisor says what is wrong
}
