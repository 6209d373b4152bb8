package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// TestShort runs parts of the benchmark for a moment, on Kiln only: it boots, and
// wrk and nginx talk to each other.
func TestShort(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the benchmark needs root, for a tap")
	}
	if _, err := os.Stat("../bin/kiln"); err != nil {
		t.Skip("bin/kiln is not built")
	}
	t.Chdir("..")
	for part, want := range map[string]int{"boot": 1, "nginx": 2 * len(nginxLoads)} {
		out := filepath.Join(t.TempDir(), part+".json")
		err := run(options{rounds: 1, only: "kiln", part: part, short: true,
			kiln: "bin/kiln", cache: t.TempDir(), out: out, accel: accelerator{"tcg", "qemu"}})
		if err != nil {
			t.Errorf("%s: %v", part, err)
			continue
		}
		var r report
		if data, err := os.ReadFile(out); err != nil {
			t.Error(err)
		} else if err := json.Unmarshal(data, &r); err != nil {
			t.Error(err)
		}
		if len(r.Measures) != want {
			t.Errorf("%s: %d measures, want %d", part, len(r.Measures), want)
		}
		for _, m := range r.Measures {
			if len(m.Kiln) != 1 || m.Kiln[0] <= 0 {
				t.Errorf("%s: %v", m.Name, m.Kiln)
			}
		}
	}
}
