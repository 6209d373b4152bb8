package memory

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
	abi "gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/socket"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
	"gvisor.dev/gvisor/pkg/usermem"

	"kiln/kernel/machine"
	"kiln/kernel/sentry/linux"
)

const (
	// taskPages is what the kernel has for a thread: its goroutine's stack, the
	// task, the floating point state.
	taskPages = 8
	// fileBytes is what an open file takes beside its content.
	fileBytes = 1 << 10
	// sampled is how many files of a process are looked into: the others are
	// taken to be like them.
	sampled = 1024
)

// heldPages returns what the kernel holds for a process behind its descriptors,
// in pages, and gives the reference to their table back. What several have open is
// divided among them. It makes next to no garbage: there is no memory when it is
// called.
func heldPages(ctx context.Context, table *kernel.FDTable) int {
	defer table.DecRef(ctx)
	files, content := 0, 0
	for fd, end := int32(0), int32(table.CurrentMaxFDs()); fd < end; fd++ {
		file, _ := table.Get(fd)
		if file == nil {
			continue
		}
		if files++; files <= sampled {
			users := max(1, int(file.ReadRefs())-1) // one is ours
			content += (contentOf(ctx, file) + fileBytes) / users
		}
		file.DecRef(ctx)
	}
	if files > sampled {
		content = content / sampled * files
	}
	return content / machine.PageSize
}

// contentOf returns how many bytes of memory a file's content takes that would
// go with its last descriptor: what is queued in pipes and sockets, and files
// in memory without a name.
func contentOf(ctx context.Context, file *vfs.FileDescription) int {
	n := 0
	switch impl := file.Impl().(type) {
	case socket.Socket:
		n = linux.Queued(impl)
	case interface{ PipeSize() int64 }:
		if n = inPipe(ctx, file); n > 0 {
			n = max(n, int(impl.PipeSize())/2) // buffers are whole pages, often half full
		}
	default:
		s, err := file.Stat(ctx, vfs.StatOptions{Mask: abi.STATX_TYPE | abi.STATX_NLINK | abi.STATX_BLOCKS})
		if err == nil && s.Mode&abi.S_IFMT == abi.S_IFREG && s.Nlink == 0 && inMemory(file) {
			n = int(s.Blocks) * 512
		}
	}
	return n
}

// inPipe returns how many bytes are in a pipe.
func inPipe(ctx context.Context, file *vfs.FileDescription) int {
	var out [4]byte
	args := arch.SyscallArguments{{}, {Value: abi.FIONREAD}, {Value: 0}}
	if _, err := file.Ioctl(ctx, &usermem.BytesIO{Bytes: out[:]}, unix.SYS_IOCTL, args); err != nil {
		return 0
	}
	return int(binary.LittleEndian.Uint32(out[:]))
}

// inMemory reports whether a file's content is in memory and nowhere else.
func inMemory(file *vfs.FileDescription) bool {
	switch file.VirtualDentry().Mount().Filesystem().FilesystemType().Name() {
	case "tmpfs", "overlay":
		return true
	}
	return false
}
