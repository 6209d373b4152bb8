package ext4

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"kiln/kernel/fs"
)

// The device is memory: what is measured is the file system's own work.

func BenchmarkWrite(b *testing.B) {
	_, _, root := setup(b, "512M", "-t", "ext4", "-b", "4096")
	in := create(b, root, "file")
	p := make([]byte, 1<<20)
	b.SetBytes(int64(len(p)))
	for i := range b.N {
		write(b, in, p, int64(i%256)<<20)
	}
}

func BenchmarkRead4K(b *testing.B) {
	_, _, root := setup(b, "512M", "-t", "ext4", "-b", "4096")
	in := create(b, root, "file")
	write(b, in, make([]byte, 64<<20), 0)
	p := make([]byte, 4096)
	b.SetBytes(int64(len(p)))
	for range b.N {
		if _, err := in.ReadAt(p, int64(rand.IntN(16384))*4096); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendSync(b *testing.B) {
	_, _, root := setup(b, "512M", "-t", "ext4", "-b", "4096")
	in := create(b, root, "file")
	p := make([]byte, 100)
	for i := range b.N {
		write(b, in, p, int64(i)*100)
		if err := in.Sync(true); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCreate(b *testing.B) {
	_, _, root := setup(b, "512M", "-t", "ext4", "-b", "4096", "-N", "400000")
	var dirs []fs.Inode
	for i := range 20 {
		dirs = append(dirs, mkdir(b, root, fmt.Sprint(i)))
	}
	for i := range b.N {
		create(b, dirs[i%len(dirs)], fmt.Sprintf("file%d", i)).DecRef()
	}
}

func BenchmarkLookup(b *testing.B) {
	_, _, root := setup(b, "512M", "-t", "ext4", "-b", "4096")
	for i := range 5000 {
		create(b, root, fmt.Sprintf("file%d", i)).DecRef()
	}
	for i := range b.N {
		in, err := root.Lookup(fmt.Sprintf("file%d", i%5000))
		if err != nil {
			b.Fatal(err)
		}
		in.DecRef()
	}
}
