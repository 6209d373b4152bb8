package main

import "testing"

func TestBytesText(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 999: "999 B", 1000: "0.977 KiB", 1024: "1 KiB", 1 << 20: "1 MiB", 98 << 20: "98 MiB", 3 << 40: "3 TiB", 5000 << 40: "5e+03 TiB"} {
		if got := bytesText(n); got != want {
			t.Errorf("bytesText(%d) = %q, want %q", n, got, want)
		}
	}
}
