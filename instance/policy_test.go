package instance

import (
	"testing"
	"time"
)

func TestPolicy(t *testing.T) {
	for _, tt := range []struct {
		text           string
		want           Policy
		code, restarts int
		again          bool
	}{
		{"no", Policy{}, 1, 0, false},
		{"", Policy{}, 1, 0, false},
		{"always", Policy{When: always}, 0, 1000, true},
		{"unless-stopped", Policy{When: always}, 0, 0, true},
		{"on-failure", Policy{When: onFailure}, 1, 1000, true},
		{"on-failure", Policy{When: onFailure}, 0, 0, false},
		{"on-failure:3", Policy{When: onFailure, Max: 3}, 1, 2, true},
		{"on-failure:3", Policy{When: onFailure, Max: 3}, 1, 3, false},
		{"on-failure:0", Policy{When: onFailure}, 1, 3, true},
	} {
		got, err := ParsePolicy(tt.text)
		if err != nil || got != tt.want {
			t.Errorf("ParsePolicy(%q) = %v, %v, want %v", tt.text, got, err, tt.want)
		}
		if again := got.again(tt.code, tt.restarts); again != tt.again {
			t.Errorf("%s: again(%d, %d) = %v, want %v", tt.text, tt.code, tt.restarts, again, tt.again)
		}
	}
	for _, text := range []string{"never", "always:3", "on-failure:", "on-failure:-1", "on-failure:x", "no:1", "on-failure:99999999999"} {
		if got, err := ParsePolicy(text); err == nil {
			t.Errorf("ParsePolicy(%q) = %v, want an error", text, got)
		}
	}
}

func TestPauses(t *testing.T) {
	var got []time.Duration
	pause := time.Duration(0)
	for range 12 {
		pause = nextPause(pause, time.Second)
		got = append(got, pause)
	}
	if got[0] != 100*time.Millisecond || got[1] != 200*time.Millisecond || got[9] != 51200*time.Millisecond || got[10] != time.Minute || got[11] != time.Minute {
		t.Errorf("pauses: %v", got)
	}
	if p := nextPause(time.Minute, settledTime); p != firstPause {
		t.Errorf("behind a guest that has run for %v: %v, want %v", settledTime, p, firstPause)
	}
}
