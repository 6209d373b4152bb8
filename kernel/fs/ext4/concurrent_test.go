package ext4

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"kiln/kernel/fs"
)

// TestConcurrent has several goroutines work in directories of their own and
// in a common one, while others sync, list and shrink.
func TestConcurrent(t *testing.T) {
	m, f, root := setup(t, "64M", "-t", "ext4", "-b", "1024")
	common := mkdir(t, root, "common")
	steps := 150
	if long {
		steps = 3000
	}
	var stop atomic.Bool
	var workers, others sync.WaitGroup
	for g := range 6 {
		own := mkdir(t, root, fmt.Sprintf("own%d", g))
		workers.Go(func() {
			defer own.DecRef()
			work(t, own, common, g, steps)
		})
	}
	for _, do := range []func(){
		func() { _ = f.Sync(); time.Sleep(time.Millisecond) },
		func() { f.Shrink(); time.Sleep(time.Millisecond) },
		func() {
			_ = common.ReadDir(0, func(e fs.Dirent) bool {
				if in, err := common.Lookup(e.Name); err == nil {
					_, _ = in.Attr()
					_, _ = in.ReadAt(make([]byte, 5000), 0)
					in.DecRef()
				}
				return true
			})
		},
	} {
		others.Go(func() {
			for !stop.Load() {
				do()
			}
		})
	}
	workers.Wait()
	stop.Store(true)
	others.Wait()
	common.DecRef()
	finish(t, m, f, root)
}

// work creates, writes, renames and removes, and checks what it reads.
func work(t *testing.T, own, common fs.Inode, g, steps int) {
	for i := range steps {
		name := fmt.Sprintf("w%d-%d", g, i%20)
		want := bytes.Repeat([]byte{byte(g), byte(i)}, 1+i*37%4000)
		in, err := own.Create("tmp", fs.New{Mode: syscall.S_IFREG})
		if err != nil {
			t.Errorf("create: %v", err)
			return
		}
		_, err1 := in.WriteAt(want, 0)
		err2 := in.Sync(true)
		err3 := own.Rename("tmp", common, name, 0)
		got := make([]byte, len(want)+1)
		n, err4 := in.ReadAt(got, 0)
		in.DecRef()
		if err := errors.Join(err1, err2, err3); err != nil || err4 != io.EOF || !bytes.Equal(got[:n], want) {
			t.Errorf("worker %d, step %d: %v, read %d bytes of %d, %v", g, i, err, n, len(want), err4)
			return
		}
		if i%3 == 0 {
			if err := common.Unlink(name); err != nil {
				t.Errorf("unlink: %v", err)
			}
		}
	}
}

// TestReadDirWhileChanging checks that a pass sees each entry that stays
// exactly once, while leaves split and blocks merge.
func TestReadDirWhileChanging(t *testing.T) {
	for _, args := range [][]string{{"-t", "ext4", "-b", "1024"}, {"-t", "ext2", "-b", "1024", "-O", "^dir_index"}} {
		m, f, root := setup(t, "32M", args...)
		d := mkdir(t, root, "d")
		for i := range 20 {
			create(t, d, fmt.Sprintf("stays%d", i)).DecRef()
		}
		seen := map[string]int{}
		extra := 0
		for pos := int64(0); ; {
			got := 0
			err := d.ReadDir(pos, func(e fs.Dirent) bool {
				if got == 1 {
					return false
				}
				got++
				seen[e.Name]++
				pos = e.Next
				return true
			})
			if err != nil {
				t.Fatal(err)
			}
			if got == 0 {
				break
			}
			for range 10 {
				if extra++; extra < 2000 {
					create(t, d, fmt.Sprintf("extra%d", extra)).DecRef()
				}
			}
			if extra > 30 && extra < 2000 {
				if err := d.Unlink(fmt.Sprintf("extra%d", extra-25)); err != nil {
					t.Fatal(err)
				}
			}
		}
		for i := range 20 {
			if n := seen[fmt.Sprintf("stays%d", i)]; n != 1 {
				t.Errorf("%v: stays%d was seen %d times", args, i, n)
			}
		}
		for name, n := range seen {
			if n > 1 {
				t.Errorf("%v: %s was seen %d times", args, name, n)
			}
		}
		d.DecRef()
		finish(t, m, f, root)
	}
}
