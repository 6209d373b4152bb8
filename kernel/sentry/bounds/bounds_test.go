package bounds

import (
	"testing"

	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
)

// TestReach: what is looked for in gVisor's structures is there.
func TestReach(t *testing.T) {
	if n := length(&vfs.Inotify{}, "watches") + length(&vfs.EpollInstance{}, "interest") + length(&kernel.ThreadGroup{}, "timers"); n != 0 {
		t.Errorf("empty structures have %d objects", n)
	}
	if n := pending(&kernel.Task{}) + pending(&kernel.ThreadGroup{}); n != 0 {
		t.Errorf("%d signals wait for a new task", n)
	}
}

// TestNew compares with Linux 6.1 in machines of that size, where a bound is
// Linux' own.
func TestNew(t *testing.T) {
	for _, tt := range []struct{ megabytes, pipes, inotify, epoll, mappings int64 }{
		{64, 2048, 8192, 13981, 16384},
		{4096, 16384, 33554, 894784, 65530},
	} {
		b := New(int(tt.megabytes << 20 / pageSize))
		for _, c := range []struct {
			s    *setting
			want int64
		}{
			{&b.pipePagesSoft, tt.pipes}, {&b.inotifyWatches, tt.inotify}, {&b.epollWatches, tt.epoll}, {&b.mappings, tt.mappings},
		} {
			if got := c.s.get(); got != c.want {
				t.Errorf("%s in %d MB = %d, want %d", c.s.path, tt.megabytes, got, c.want)
			}
		}
	}
}

func TestRoundPipe(t *testing.T) {
	for _, tt := range []struct{ n, want int64 }{
		{0, 4096}, {1, 4096}, {4096, 4096}, {4097, 8192}, {65536, 65536}, {1<<20 + 1, 2 << 20}, {1 << 31, 1 << 31}, {1<<31 + 1, -1},
	} {
		if got := roundPipe(tt.n); got != tt.want {
			t.Errorf("roundPipe(%d) = %d, want %d", tt.n, got, tt.want)
		}
	}
}

// TestWrite: a setting takes a number, and nothing else.
func TestWrite(t *testing.T) {
	b := New(1 << 20)
	for _, tt := range []struct {
		text string
		want int64 // -1: an error
	}{
		{"5000\n", 8192}, {" 65536 ", 65536}, {"0", 4096}, {"-1", -1}, {"", -1}, {"x", -1}, {"4294967296", -1}, {"1 2", -1},
	} {
		b.pipeMaxSize.value.Store(-1)
		err := b.pipeMaxSize.write(nil, tt.text)
		if got := b.pipeMaxSize.get(); got != tt.want || (err != nil) != (tt.want < 0) {
			t.Errorf("writing %q: %d, %v; want %d", tt.text, got, err, tt.want)
		}
	}
}
