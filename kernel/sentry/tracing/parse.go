package tracing

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Marks of the Sentry's lines for calls (gvisor.dev/gvisor/pkg/sentry/strace,
// printEnter and printExit): the thread's prefix is before them. The values
// behind are the program's name, the call's, its arguments and, at the exit, its
// result.
const (
	entryMark = "%s E %s("
	exitMark  = "%s X %s("
)

// parse takes apart a line of the Sentry's log. ok says that it is of a call,
// entry that this has not returned yet.
func parse(format string, v []any) (c call, entry, ok bool) {
	prefix, _, entry := strings.Cut(format, entryMark)
	if !entry {
		prefix, _, ok = strings.Cut(format, exitMark)
	}
	if !entry && !ok || len(v) < 2 || ok && len(v) < 3 {
		return call{}, false, false
	}
	words := make([]string, len(v))
	for i := range v {
		words[i] = fmt.Sprint(v[i])
	}
	c.tid, c.name = threadID(prefix), words[1]
	args := words[2:]
	if !entry {
		args = words[2 : len(words)-1]
	}
	for _, w := range args {
		c.args = append(c.args, argument(w))
	}
	if entry {
		return c, true, true
	}
	c.result, c.failed, c.elapsed = result(words[len(words)-1])
	if !c.failed && (c.name == "exit" || c.name == "exit_group") {
		c.result = "?" // it does not return
	}
	return c, false, true
}

// threadID returns the thread's number from the prefix of its lines, "[  PID: TID] ".
func threadID(prefix string) string {
	_, tid, _ := strings.Cut(strings.Trim(prefix, "[] "), ":")
	return strings.TrimSpace(tid)
}

// lowestAddress is below what programs can map: smaller numbers are none of
// addresses.
const lowestAddress = 1 << 16

// argument returns an argument as strace shows it. The Sentry has numbers in hex;
// files as the descriptor and the path; and what an address leads to behind it.
func argument(w string) string {
	w = strings.TrimSuffix(w, "|0x0") // flags, and no others
	number, rest, more := strings.Cut(w, " ")
	n, err := strconv.ParseUint(number, 0, 64)
	switch {
	case number == "AT_FDCWD" && more:
		return "AT_FDCWD<" + rest + ">"
	case err != nil || !strings.HasPrefix(number, "0x"):
		return w
	case !more:
		return plainNumber(n)
	case rest == "(bad FD)":
		return plainNumber(n)
	case n < lowestAddress:
		return plainNumber(n) + "<" + rest + ">"
	case rest != "" && strings.ContainsAny(rest[:1], `"{[(`):
		return rest
	}
	return strconv.Quote(rest)
}

// plainNumber returns small numbers, also negative ones, in decimal and others in
// hex.
func plainNumber(n uint64) string {
	for _, v := range []int64{int64(n), int64(int32(n))} {
		if v < 0 && v >= -lowestAddress && (n>>32 == 0 || n>>32 == 1<<32-1) {
			return strconv.FormatInt(v, 10)
		}
	}
	if n < lowestAddress {
		return strconv.FormatUint(n, 10)
	}
	return fmt.Sprintf("%#x", n)
}

// result takes apart how a call ended: "N (HEX) (DURATION)", or "-1 errno=N (TEXT)
// (DURATION)".
func result(w string) (shown string, failed bool, elapsed time.Duration) {
	if open := strings.LastIndexByte(w, '('); open >= 0 {
		if d, err := time.ParseDuration(strings.TrimSuffix(w[open+1:], ")")); err == nil {
			elapsed, w = d, strings.TrimSpace(w[:open])
		}
	}
	if text, ok := strings.CutPrefix(w, "-1 errno="); ok {
		number, _, _ := strings.Cut(text, " ")
		n, err := strconv.Atoi(number)
		if err != nil {
			return w, true, elapsed
		}
		name := unix.ErrnoName(unix.Errno(n))
		if name == "" { // of the kernel's own: the call is made again after a signal
			return "? ERRNO_" + number, true, elapsed
		}
		return "-1 " + name + " (" + unix.Errno(n).Error() + ")", true, elapsed
	}
	number, _, _ := strings.Cut(w, " ")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return w, false, elapsed
	}
	if n >= 1<<32 {
		return fmt.Sprintf("%#x", n), false, elapsed
	}
	return number, false, elapsed
}
