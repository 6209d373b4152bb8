package main

import (
	"fmt"
	"strconv"
)

// megabytes is a flag for an amount of memory: a number of MB, or of GB with a
// G behind it.
type megabytes int

func (m *megabytes) String() string {
	if *m == 0 {
		return ""
	}
	return strconv.Itoa(int(*m))
}

func (m *megabytes) Type() string { return "MB" }

func (m *megabytes) Set(s string) error {
	digits, unit := s, 1
	if n := len(s); n > 0 {
		switch s[n-1] {
		case 'M', 'm':
			digits = s[:n-1]
		case 'G', 'g':
			digits, unit = s[:n-1], 1024
		}
	}
	n, err := strconv.ParseUint(digits, 10, 20)
	if err != nil || n == 0 {
		return fmt.Errorf("%q is no number of MB", s)
	}
	*m = megabytes(int(n) * unit)
	return nil
}
