package signals

import (
	"syscall"
	"testing"
	"time"
)

func TestHurry(t *testing.T) {
	var h Hurry
	for i, tt := range []struct {
		sig  syscall.Signal
		ms   int
		want bool
	}{
		{syscall.SIGINT, 0, false}, {syscall.SIGINT, 1500, false}, {syscall.SIGINT, 3000, false}, {syscall.SIGHUP, 3100, false},
		{syscall.SIGINT, 3400, true}, {syscall.SIGINT, 10000, false},
	} {
		if got := h.See(tt.sig, time.UnixMilli(int64(tt.ms))); got != tt.want {
			t.Errorf("signal %d, %v at %d ms: %v, want %v", i, tt.sig, tt.ms, got, tt.want)
		}
	}
}
