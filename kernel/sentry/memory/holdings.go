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
)

// holdings is what the kernel holds for processes behind their descriptors.
type holdings struct {
	ctx    context.Context
	tables map[*kernel.FDTable][]int             // which processes use it
	files  map[*vfs.FileDescription]map[int]bool // which processes have it open
}

func newHoldings(ctx context.Context) *holdings {
	return &holdings{
		ctx:    ctx,
		tables: map[*kernel.FDTable][]int{},
		files:  map[*vfs.FileDescription]map[int]bool{},
	}
}

// add notes that process i uses a table, which may be nil. The table stays for
// as long as the task's lock is held, and its files are only counted later, by
// who has references to them.
func (h *holdings) add(i int, table *kernel.FDTable) {
	if table == nil {
		return
	}
	users := h.tables[table]
	for _, u := range users {
		if u == i {
			return
		}
	}
	h.tables[table] = append(users, i)
	table.ForEach(h.ctx, func(_ int32, file *vfs.FileDescription, _ kernel.FDFlags) bool {
		users, ok := h.files[file]
		if !ok {
			if !file.TryIncRef() {
				return true
			}
			users = map[int]bool{}
			h.files[file] = users
		}
		users[i] = true
		return true
	})
}

// count reports each process' share of each file, in pages, and gives the
// references back.
func (h *holdings) count(report func(process, pages int)) {
	bytes := map[int]int{}
	for file, users := range h.files {
		size := contentOf(h.ctx, file) + fileBytes
		for i := range users {
			bytes[i] += size / len(users)
		}
		file.DecRef(h.ctx)
	}
	for i, n := range bytes {
		report(i, n/machine.PageSize)
	}
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
