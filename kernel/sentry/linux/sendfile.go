package linux

import (
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/socket"
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
// So a call is made in pieces, until one is not taken whole.
var sendfileCorrection = correction{
	name:  "sendfile",
	calls: map[uintptr]Wrapper{unix.SYS_SENDFILE: sendfileInPieces},
}

// What is read at once, in bytes: not much more than a socket with a small buffer
// has room for, because the rest is read again.
const (
	sendfileMost  = 64 << 10
	sendfileLeast = 4 << 10
)

// sendfileInPieces wraps sendfile(2). Both offsets, the program's and the file's,
// move with each piece.
func sendfileInPieces(next kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, nr uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		size := args[3].SizeT()
		if size <= sendfileLeast || int(size) < 0 {
			return next(t, nr, args)
		}
		piece := sendfilePiece(t, args[0].Int())
		if piece == 0 {
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

// InPieces moves size bytes by move, piece at a time, and returns how many it has
// moved. It ends where move takes less or fails, or where the task is to stop. An
// error after something was moved is the next call's.
func InPieces(size, piece uint, stop func() bool, move func(uint) (uintptr, error)) (done uint, err error) {
	for {
		want := min(size-done, piece)
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

// sendfilePiece returns how much to read at once for what a task has as fd, 0 if
// it is no socket.
func sendfilePiece(t *kernel.Task, fd int32) uint {
	file := t.GetFile(fd)
	if file == nil {
		return 0
	}
	defer file.DecRef(t)
	switch s := file.Impl().(type) {
	case *tcpSocket:
		return uint(min(max(s.options.GetSendBufferSize()/2, sendfileLeast), sendfileMost))
	case socket.Socket:
		return sendfileMost
	}
	return 0
}
