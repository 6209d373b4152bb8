package blocktest

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"
)

func fill(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }

func TestMemory(t *testing.T) {
	m := NewMemory(64<<10, 512)
	if err := m.WriteAt(fill(1, 5120), 3584); err != nil {
		t.Fatal(err)
	}
	c := m.Clone()
	if err := m.WriteZeroes(4096, 512); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 6144)
	if err := m.ReadAt(got, 3072); err != nil {
		t.Fatal(err)
	}
	want := append(append(append(append(fill(0, 512), fill(1, 512)...), fill(0, 512)...), fill(1, 4096)...), fill(0, 512)...)
	if !bytes.Equal(got, want) {
		t.Error("content differs after WriteAt and WriteZeroes")
	}
	c.ReadAt(got[:512], 4096)
	if !bytes.Equal(got[:512], fill(1, 512)) {
		t.Error("the clone changed with its original")
	}
	for _, off := range []int64{-512, 100, 64 << 10} {
		if err := m.WriteAt(fill(1, 512), off); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("WriteAt(%d) = %v, want EINVAL", off, err)
		}
	}
	name := filepath.Join(t.TempDir(), "image")
	if err := m.Save(name); err != nil {
		t.Fatal(err)
	}
	l, err := Load(name, 512)
	if err != nil {
		t.Fatal(err)
	}
	a, b := make([]byte, m.Size()), make([]byte, m.Size())
	m.ReadAt(a, 0)
	l.ReadAt(b, 0)
	if !bytes.Equal(a, b) {
		t.Error("Load differs from what was saved")
	}
}

func TestVolatile(t *testing.T) {
	v := NewVolatile(NewMemory(64<<10, 512))
	v.WriteAt(fill(1, 4096), 0)
	v.Flush()
	v.WriteAt(fill(2, 4096), 0)
	v.WriteAt(fill(3, 4096), 0)
	seen := make(map[byte]bool)
	torn := false
	for i := range uint64(200) {
		m := v.Cut(rand.New(rand.NewPCG(i, 1)))
		got := make([]byte, 4096)
		m.ReadAt(got, 0)
		for _, b := range got {
			seen[b] = true
			torn = torn || b != got[0]
		}
	}
	if seen[0] || !seen[1] || !seen[2] || !seen[3] || !torn {
		t.Errorf("200 cuts show %v, torn %v; want 1, 2, 3, also torn", seen, torn)
	}
	v.Flush()
	got := make([]byte, 4096)
	v.Cut(rand.New(rand.NewPCG(1, 1))).ReadAt(got, 0)
	if !bytes.Equal(got, fill(3, 4096)) {
		t.Error("a cut after a flush lost something")
	}
}

func TestFault(t *testing.T) {
	v := NewVolatile(NewMemory(64<<10, 512))
	v.Fault = EIO("write", 4096, 512, func() bool { return true })
	if err := v.WriteAt(fill(1, 4096), 0); err != nil {
		t.Errorf("write beside the fault: %v", err)
	}
	if err := v.WriteAt(fill(1, 4096), 1024); !errors.Is(err, syscall.EIO) {
		t.Errorf("write over the fault: %v, want EIO", err)
	}
}
