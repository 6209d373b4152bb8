package instance

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Policy says whether an instance is started again when its guest has ended by
// itself. The zero value is never.
type Policy struct {
	When string // "", "on-failure" or "always"
	Max  int    // how often on-failure tries again; 0: without end
}

const (
	onFailure = "on-failure"
	always    = "always"
)

// ParsePolicy reads no, always, unless-stopped or on-failure[:N]. As nothing
// starts instances when a machine boots, unless-stopped is always.
func ParsePolicy(s string) (Policy, error) {
	when, count, counted := strings.Cut(s, ":")
	switch {
	case counted && when != onFailure:
	case when == "no" || when == "":
		return Policy{}, nil
	case when == always || when == "unless-stopped":
		return Policy{When: always}, nil
	case when == onFailure && !counted:
		return Policy{When: onFailure}, nil
	case when == onFailure:
		n, err := strconv.ParseUint(count, 10, 31)
		if err == nil {
			return Policy{When: onFailure, Max: int(n)}, nil
		}
	}
	return Policy{}, fail("there are no, on-failure, on-failure:N, always and unless-stopped", "--restart %s: no such policy", s)
}

func (p Policy) String() string {
	switch {
	case p.When == "":
		return "no"
	case p.Max > 0:
		return fmt.Sprintf("%s:%d", p.When, p.Max)
	}
	return p.When
}

// MarshalText implements encoding.TextMarshaler.
func (p Policy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Policy) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePolicy(string(text))
	return err
}

// again reports whether a guest that ended with status code is followed by
// another one, which would be the restarts'th plus one.
func (p Policy) again(code, restarts int) bool {
	switch p.When {
	case always:
		return true
	case onFailure:
		return code != 0 && (p.Max == 0 || restarts < p.Max)
	}
	return false
}

// The pauses before another start, which are docker's: each twice the last,
// from firstPause to maxPause. A guest that has run for settledTime has the
// first again.
const (
	firstPause  = 100 * time.Millisecond
	maxPause    = time.Minute
	settledTime = 10 * time.Second
)

// nextPause returns the pause behind a guest that has run for ran. last is the
// one before, 0 if there was none.
func nextPause(last, ran time.Duration) time.Duration {
	if last == 0 || ran >= settledTime {
		return firstPause
	}
	return min(2*last, maxPause)
}
