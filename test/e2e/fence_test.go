package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"kiln/image/bootinfo"
	"kiln/test/kilncmd"
)

const (
	fenceMemory = 64 << 20         // bytes of the guest
	fenceRounds = 300_000          // that show the defect for sure
	fenceTime   = 10 * time.Second // after which some will do
	fenceSome   = 3_000
)

// TestFence plays the part of a device of QEMU, which is another thread with
// access to the guest's memory. In each round both sides store to a word of
// their own and then load the other's. If both find the old value, the fence of
// the guest (machine.Fence) is none: a driver would go to sleep without knowing
// of a packet, while the device believes it awake, for good. With MFENCE alone it
// was one round in a hundred on QEMU 7.2, see Fence.
func TestFence(t *testing.T) {
	if runtime.NumCPU() == 1 {
		t.Skip("on one CPU, no two threads ever run at once")
	}
	rumprun := filepath.Join(filepath.Dir(kilncmd.Path(t)), "rumprun")
	dir := t.TempDir()
	program, image, memory := filepath.Join(dir, "fence"), filepath.Join(dir, "fence.img"), filepath.Join(dir, "memory")
	build := exec.Command("go", "build", "-o", program,
		fmt.Sprintf("-ldflags=-checklinkname=0 -T=%d", bootinfo.KernelLinkText), "../programs/src/fence")
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	if out, err := exec.Command(kilncmd.Path(t), "bake", "--kernel", program, "-o", image).CombinedOutput(); err != nil {
		t.Fatalf("kiln bake: %v\n%s", err, out)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	guest := exec.CommandContext(ctx, rumprun, "qemu", "-i", "-M", fmt.Sprint(fenceMemory>>20), "-g",
		fmt.Sprintf("-object memory-backend-file,id=ram,size=%d,mem-path=%s,share=on -machine memory-backend=ram", fenceMemory, memory), image)
	guest.WaitDelay = 5 * time.Second
	console, err := guest.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	guest.Stderr = os.Stderr
	if err := guest.Start(); err != nil {
		t.Fatal(err)
	}
	page := fencePage(t, console, memory)
	played, lost := playRounds(ctx, page)
	if err := guest.Wait(); err != nil {
		t.Errorf("the guest ended with %v", err)
	}
	if played < fenceSome {
		t.Fatalf("only %d rounds within %v", played, limit)
	}
	if lost > 0 {
		t.Errorf("in %d rounds of %d neither side saw the other's store", lost, played)
	}
	t.Logf("%d rounds", played)
}

// fencePage waits until the guest says where its page is, and maps that page.
func fencePage(t *testing.T, console interface{ Read([]byte) (int, error) }, memory string) []byte {
	t.Helper()
	var text strings.Builder
	for lines := bufio.NewScanner(console); lines.Scan(); {
		var at int64
		if _, err := fmt.Sscanf(lines.Text(), "fence: page at %v", &at); err != nil {
			text.WriteString(lines.Text() + "\n")
			continue
		}
		f, err := os.OpenFile(memory, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		// The machine's memory begins at address 0.
		page, err := unix.Mmap(int(f.Fd()), at, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Munmap(page) })
		return page
	}
	t.Fatalf("the guest says nothing of its page:\n%s", &text)
	return nil
}

// playRounds plays, ends the guest, and returns how many rounds there were and
// in how many neither side saw the other's store.
func playRounds(ctx context.Context, page []byte) (played, lost int) {
	const lineSize = 64
	word := func(n int) *uint32 { return (*uint32)(unsafe.Pointer(&page[n*lineSize])) }
	round, theirs, ours, seen, done := word(0), word(1), word(2), word(3), word(4)
	defer atomic.StoreUint32(round, ^uint32(0))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	end := time.Now().Add(fenceTime)
	for n := uint32(1); n <= fenceRounds; n++ {
		_ = atomic.LoadUint32(theirs)
		atomic.StoreUint32(round, n)
		// The guest takes a moment to see that; the two are to meet.
		for i := uint32(0); i < n%200; i++ {
			_ = atomic.LoadUint32(ours)
		}
		atomic.StoreUint32(ours, n) // XCHG, which is a fence
		saw := atomic.LoadUint32(theirs) == n
		for spins := 1; atomic.LoadUint32(done) != n; spins++ {
			// Where the guest's thread has no CPU of its own, it waits for ours.
			if spins%10_000 == 0 {
				if ctx.Err() != nil {
					return played, lost
				}
				time.Sleep(time.Microsecond)
			}
		}
		played++
		if !saw && atomic.LoadUint32(seen) != n {
			lost++
		}
		if n >= fenceSome && n%64 == 0 && time.Now().After(end) {
			break
		}
	}
	return played, lost
}
