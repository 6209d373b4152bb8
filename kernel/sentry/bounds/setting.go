package bounds

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"

	"kiln/kernel/sentry/procfs"
)

// setting is a bound with a file below /proc/sys, which root may write to.
type setting struct {
	value atomic.Int64
	path  string            // below /proc/sys
	most  int64             // that may be written; 0: math.MaxInt32
	round func(int64) int64 // what a value becomes, negative if it may not be; nil: it stays
}

func (s *setting) set(path string, value int64) {
	s.path = path
	s.value.Store(value)
}

func (s *setting) get() int64 { return s.value.Load() }

func (s *setting) file() procfs.File {
	return procfs.File{
		Path:  "sys/" + s.path,
		Read:  func(context.Context) (string, error) { return fmt.Sprintf("%d\n", s.get()), nil },
		Write: s.write,
	}
}

// write sets the bound to a decimal number between blanks.
func (s *setting) write(_ context.Context, text string) error {
	most := s.most
	if most == 0 {
		most = math.MaxInt32
	}
	n, err := strconv.ParseInt(strings.Trim(text, " \t\n"), 10, 64)
	if err != nil || n < 0 || n > most {
		return linuxerr.EINVAL
	}
	if s.round != nil {
		if n = s.round(n); n < 0 {
			return linuxerr.EINVAL
		}
	}
	s.value.Store(n)
	return nil
}
