package notice

import (
	"errors"
	"testing"
)

// reports keeps what is reported, unless it is out of order.
type reports struct {
	got []string
	err error
}

func (r *reports) Report(b []byte) error {
	r.got = append(r.got, string(b))
	return r.err
}

func TestPrintf(t *testing.T) {
	for _, r := range []*reports{{}, {err: errors.New("the host is gone")}} { // the second goes to standard error as well
		To(r)
		defer To(nil)
		Printf("killed %q after %d ms", "a\nb", 7)
		if want := `{"notice":"killed \"a\\nb\" after 7 ms"}`; len(r.got) != 1 || r.got[0] != want {
			t.Errorf("Printf reported %q, want %q", r.got, want)
		}
	}
}
