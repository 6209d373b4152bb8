package memory

import (
	"golang.org/x/sys/unix"
	abi "gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	slinux "gvisor.dev/gvisor/pkg/sentry/syscalls/linux"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
	"gvisor.dev/gvisor/pkg/usermem"

	"kiln/kernel/machine"
	"kiln/kernel/sentry/linux"
	"kiln/kernel/sentry/platform"
)

// The Sentry moves what a call asks for in one go, up to 2 GB. For files that
// never make a caller wait the calls here do it in pieces, and look at memory
// before each; for the others, pipes and sockets, the size of their buffers is
// the bound.
//
// A write to a file in memory fails with ENOSPC while there still is some
// memory, so that programs go on.

// Wrap has the keeper's calls answer programs. It is called once, before tasks
// run.
func (k *Keeper) Wrap() {
	linux.Wrap(k.fewCopied())
	linux.Wrap(k.forks())
	linux.Wrap(k.movers())
	linux.Wrap(k.execs())
	linux.Wrap(k.refused())
	linux.Wrap(k.bounded())
	linux.Wrap(k.borrowers())
}

// movers are the calls that move data, in pieces.
func (k *Keeper) movers() map[uintptr]linux.Wrapper {
	calls := map[uintptr]linux.Wrapper{
		unix.SYS_SENDFILE:        func(fn kernel.SyscallFn) kernel.SyscallFn { return k.repeated(fn, 3, 0) },
		unix.SYS_COPY_FILE_RANGE: func(fn kernel.SyscallFn) kernel.SyscallFn { return k.repeated(fn, 4, 2) },
		unix.SYS_GETRANDOM:       k.randomInPieces,
		unix.SYS_FALLOCATE:       k.fallocate,
		unix.SYS_SYSINFO:         k.sysinfo,
	}
	for _, c := range []struct {
		nr     uintptr
		vector bool
		move   transfer
	}{
		{unix.SYS_READ, false, transfer{}},
		{unix.SYS_PREAD64, false, transfer{offset: true}},
		{unix.SYS_READV, true, transfer{}},
		{unix.SYS_PREADV, true, transfer{offset: true}},
		{unix.SYS_PREADV2, true, transfer{offset: true, flags: true}},
		{unix.SYS_WRITE, false, transfer{write: true}},
		{unix.SYS_PWRITE64, false, transfer{write: true, offset: true}},
		{unix.SYS_WRITEV, true, transfer{write: true}},
		{unix.SYS_PWRITEV, true, transfer{write: true, offset: true}},
		{unix.SYS_PWRITEV2, true, transfer{write: true, offset: true, flags: true}},
	} {
		calls[c.nr] = func(fn kernel.SyscallFn) kernel.SyscallFn { return k.inPieces(fn, c.move, c.vector) }
	}
	return calls
}

// memoryMajor is the major number of the devices without hardware, MEM_MAJOR in
// Linux' Documentation/admin-guide/devices.txt.
const memoryMajor = 1

// transfer is a kind of read or write call.
type transfer struct {
	write  bool
	offset bool // at an offset, the fourth argument
	flags  bool // RWF_ flags, the sixth; an offset of -1 is none
}

// inPieces does what fn does, a call of kind tr with one buffer or several. A call
// that moves little while there is much memory, which are nearly all, is fn's with
// some thirty instructions more.
func (k *Keeper) inPieces(fn kernel.SyscallFn, tr transfer, vector bool) kernel.SyscallFn {
	short := uintptr(platform.MoveLimit) // the argument of a call that moves little
	if vector {
		short = 1 // buffer
	}
	long := k.long(fn, tr, vector)
	if !tr.write {
		return func(t *kernel.Task, nr uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
			if args[2].Value <= short {
				return fn(t, nr, args)
			}
			return long(t, nr, args)
		}
	}
	return func(t *kernel.Task, nr uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		if args[2].Value <= short && !k.reserve.Scarce() && !k.full.Load() {
			return fn(t, nr, args)
		}
		return long(t, nr, args)
	}
}

// long is inPieces for all calls.
func (k *Keeper) long(fn kernel.SyscallFn, tr transfer, vector bool) kernel.SyscallFn {
	return func(t *kernel.Task, nr uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		seq, err := sequence(t, args, vector)
		if err != nil {
			return fn(t, nr, args) // which says so in its own order
		}
		small := seq.NumBytes() <= platform.MoveLimit
		if small && (!tr.write || k.plenty()) {
			if tr.write {
				k.reserve.Ample()
			}
			return fn(t, nr, args)
		}
		file := t.GetFile(args[0].Int())
		if file == nil {
			return 0, nil, linuxerr.EBADF
		}
		defer file.DecRef(t)
		if err := k.refuseData(t, file, tr); err != nil {
			return 0, nil, err
		}
		if !neverBlocks(t, file) || small && !inMemory(file) {
			return fn(t, nr, args)
		}
		n, err := k.move(t, file, seq, tr, args)
		if tr.write {
			t.IOUsage().AccountWriteSyscall(n)
		} else {
			t.IOUsage().AccountReadSyscall(n)
		}
		return uintptr(n), nil, slinux.HandleIOError(t, n != 0, err, linuxerr.ERESTARTSYS, "a call in pieces", file)
	}
}

// sequence returns the program's buffers.
func sequence(t *kernel.Task, args arch.SyscallArguments, vector bool) (usermem.IOSequence, error) {
	if vector {
		return t.IovecsIOSequence(args[1].Pointer(), int(args[2].Int()), usermem.IOOpts{})
	}
	size := int(args[2].SizeT())
	if size < 0 {
		return usermem.IOSequence{}, linuxerr.EINVAL
	}
	return t.SingleIOSequence(args[1].Pointer(), size, usermem.IOOpts{})
}

// move moves data between a program's buffers and a file.
func (k *Keeper) move(t *kernel.Task, file *vfs.FileDescription, seq usermem.IOSequence, tr transfer, args arch.SyscallArguments) (done int64, err error) {
	var flags uint32
	offset := args[3].Int64()
	if tr.flags {
		flags = args[5].Uint()
	}
	if !tr.offset || tr.flags && offset == -1 {
		tr.offset = false
	} else if offset < 0 || offset+seq.NumBytes() < 0 {
		return 0, linuxerr.EINVAL
	}
	for seq.NumBytes() > 0 {
		piece := seq.TakeFirst64(platform.MoveLimit)
		if err := k.promise(t, file, piece.NumBytes(), tr.write); err != nil {
			return done, err
		}
		var n int64
		switch {
		case tr.write && tr.offset:
			n, err = file.PWrite(t, piece, offset+done, vfs.WriteOptions{Flags: flags})
		case tr.write:
			n, err = file.Write(t, piece, vfs.WriteOptions{Flags: flags})
		case tr.offset:
			n, err = file.PRead(t, piece, offset+done, vfs.ReadOptions{Flags: flags})
		default:
			n, err = file.Read(t, piece, vfs.ReadOptions{Flags: flags})
		}
		done += n
		if err != nil || n < piece.NumBytes() {
			return done, err
		}
		seq = seq.DropFirst64(n)
	}
	return done, nil
}

// promise makes room for a piece of size bytes: for pages of the program, and for
// as many of a file in memory that is written to, which is full when memory is.
func (k *Keeper) promise(t *kernel.Task, file *vfs.FileDescription, size int64, write bool) error {
	pages := int(size/machine.PageSize) + 2
	if write && inMemory(file) && !k.roomForFiles(pages) && !k.overwrites(t, file) {
		return linuxerr.ENOSPC
	}
	if write {
		pages *= 2
	}
	if !k.room(t, pages) {
		return linuxerr.EINTR
	}
	return nil
}

// plenty reports whether files in memory may grow by a piece.
func (k *Keeper) plenty() bool {
	return k.roomBeside(filesKeep(k.total)) > platform.MoveLimit/machine.PageSize && !k.full.Load()
}

// filesKeep returns how many pages files in memory leave to programs at most on a
// machine of total pages, so that one can be started when all of them are full: 3 MB
// on the smallest machine.
func filesKeep(total int) int { return min(max(total/32, 3<<20/machine.PageSize), total/8) }

// roomBeside returns by how many pages something may grow that leaves keep pages
// to programs.
func (k *Keeper) roomBeside(keep int) int { return int(k.free()) - k.reserve.Frames() - keep }

// roomForFiles makes room for files in memory to grow by pages, without killing.
// They leave to programs as much as they have themselves, and filesKeep at most:
// where the programs have nearly all, a server may still save what is small.
func (k *Keeper) roomForFiles(pages int) bool {
	keep := filesKeep(k.total)
	if k.roomBeside(keep) > pages {
		return true
	}
	if keep = min(keep, k.files()); k.roomBeside(keep) > pages {
		return true
	}
	return k.makeRoomBeside(keep, pages)
}

// makeRoomBeside frees what nobody misses until something may grow by pages that
// leaves keep pages to programs. It reports whether that was enough.
func (k *Keeper) makeRoomBeside(keep, pages int) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.reclaimCheap(pages + keep); k.roomBeside(keep) > pages {
		return true
	}
	if k.garbage() >= pages*machine.PageSize {
		k.collect()
	}
	return k.roomBeside(keep) > pages
}

// overwrites reports whether a file has all its pages, so that to write to it
// takes no new ones but at its end.
func (k *Keeper) overwrites(t *kernel.Task, file *vfs.FileDescription) bool {
	s, err := file.Stat(t, vfs.StatOptions{Mask: abi.STATX_SIZE | abi.STATX_BLOCKS})
	if err != nil || s.Size == 0 || s.Blocks*512 < s.Size {
		return false
	}
	if file.StatusFlags()&abi.O_APPEND != 0 {
		return false
	}
	at, err := file.Seek(t, 0, abi.SEEK_CUR)
	return err == nil && uint64(at) < s.Size
}

// neverBlocks reports whether reading and writing a file never waits for
// somebody else: a regular file, or a device without an end.
func neverBlocks(t *kernel.Task, file *vfs.FileDescription) bool {
	s, err := file.Stat(t, vfs.StatOptions{Mask: abi.STATX_TYPE})
	if err != nil || s.Mask&abi.STATX_TYPE == 0 {
		return false
	}
	switch s.Mode & abi.S_IFMT {
	case abi.S_IFREG, abi.S_IFBLK:
		return true
	case abi.S_IFCHR: // /dev/null, zero, full, random, urandom
		return s.RdevMajor == memoryMajor
	}
	return false
}

// repeated makes a call that copies between files, of at most MoveLimit at a
// time, for as long as it does all it is asked to. size and out are the
// arguments with the size and with the descriptor that is written to.
func (k *Keeper) repeated(fn kernel.SyscallFn, size, out int) kernel.SyscallFn {
	return func(t *kernel.Task, nr uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		left := args[size].SizeT()
		if left <= platform.MoveLimit && k.plenty() || int(left) < 0 {
			return fn(t, nr, args)
		}
		file := t.GetFile(args[out].Int())
		if file == nil {
			return 0, nil, linuxerr.EBADF
		}
		defer file.DecRef(t)
		if !neverBlocks(t, file) {
			return fn(t, nr, args)
		}
		n, err := linux.InPieces(left, linux.Pieces(platform.MoveLimit), never, func(piece uint) (uintptr, error) {
			if err := k.promise(t, file, int64(piece), true); err != nil {
				return 0, err
			}
			args[size] = arch.SyscallArgument{Value: uintptr(piece)}
			n, _, err := fn(t, nr, args)
			return n, err
		})
		return uintptr(n), nil, err
	}
}

// never has a call in pieces go on to its end.
func never() bool { return false }

// randomInPieces is getrandom(2) in pieces.
func (k *Keeper) randomInPieces(fn kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, nr uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		left := args[1].SizeT()
		if left <= platform.MoveLimit {
			return fn(t, nr, args)
		}
		at := args[0].Pointer()
		n, err := linux.InPieces(min(left, uint(abi.MAX_RW_COUNT)), linux.Pieces(platform.MoveLimit), never, func(piece uint) (uintptr, error) {
			if !k.room(t, int(piece/machine.PageSize)+2) {
				return 0, nil
			}
			args[0] = arch.SyscallArgument{Value: uintptr(at)}
			args[1] = arch.SyscallArgument{Value: uintptr(piece)}
			n, _, err := fn(t, nr, args)
			at += hostarch.Addr(n)
			return n, err
		})
		return uintptr(n), nil, err
	}
}

// fallocate fails where a file in memory cannot have what it asks for.
func (k *Keeper) fallocate(fn kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, nr uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		if file := t.GetFile(args[0].Int()); file != nil {
			defer file.DecRef(t)
			pages := min(args[3].Uint64()/machine.PageSize, uint64(k.total))
			if allocates(args) && inMemory(file) && !k.roomForFiles(int(pages)) {
				return 0, nil, linuxerr.ENOSPC
			}
		}
		return fn(t, nr, args)
	}
}

// allocates reports whether a fallocate(2) that Linux accepts asks for space.
func allocates(args arch.SyscallArguments) bool {
	const gives = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_COLLAPSE_RANGE | unix.FALLOC_FL_INSERT_RANGE
	off, length := args[2].Int64(), args[3].Int64()
	return args[1].Uint()&gives == 0 && off >= 0 && length > 0 && off+length > 0
}
