package fast

import (
	"testing"

	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
)

// TestTrim: a new table's bitmap becomes short, one that has something keeps that,
// and stays where it is.
func TestTrim(t *testing.T) {
	for _, c := range []struct {
		name       string
		used, want int // words
	}{
		{"a new table", 0, keepWords},
		{"few descriptors", 1, keepWords},
		{"many", 100, 100},
		{"all that a new table has room for", freshWords, freshWords},
	} {
		files := new(kernel.Kernel).NewFDTable()
		words := table.words(files)
		if n := len(*words); n != freshWords {
			t.Fatalf("a new table's bitmap has %d words, not %d", n, freshWords)
		}
		if c.used > 0 {
			(*words)[c.used-1] = 1
		}
		first := &(*words)[0]
		Trim(files)
		if n := len(*words); n != c.want || &(*words)[0] != first {
			t.Errorf("%s: %d words, want %d where they were", c.name, n, c.want)
		}
		if c.used > 0 && (*words)[c.used-1] != 1 {
			t.Errorf("%s: descriptors are lost", c.name)
		}
	}
}

// TestTrimGrows: a trimmed table takes descriptors beyond its bitmap's end, the
// lowest that is free first.
func TestTrimGrows(t *testing.T) {
	k, ctx := new(kernel.Kernel), context.Background()
	k.MaxFDLimit.Store(kernel.MaxFdLimit)
	files, file := k.NewFDTable(), new(vfs.FileDescription)
	file.InitRefs()
	Trim(files)
	for want := range int32(keepWords*64 + 100) {
		if fd, err := files.NewFD(ctx, 0, file, kernel.FDFlags{}); fd != want || err != nil {
			t.Fatalf("the descriptor after %d is %d (%v)", want-1, fd, err)
		}
	}
	for _, far := range []int32{5000, 70000} {
		if fd, err := files.NewFD(ctx, far, file, kernel.FDFlags{}); fd != far || err != nil {
			t.Errorf("the descriptor from %d on is %d (%v)", far, fd, err)
		}
	}
	if _, err := files.NewFDAt(ctx, 90000, file, kernel.FDFlags{}); err != nil {
		t.Errorf("descriptor 90000: %v", err)
	}
	if got := files.GetLastFd(); got != 90000 {
		t.Errorf("the last descriptor is %d", got)
	}
	clone := files.Fork(ctx, kernel.MaxFdLimit)
	Trim(clone)
	if got, want := len(clone.GetFDs(ctx)), keepWords*64+103; got != want {
		t.Errorf("a copy has %d descriptors, not %d", got, want)
	}
}
