// Package fuzz_test runs random programs of system calls in a guest, which must
// outlive them. The programs are made from numbers, seeds, by src/fuzz.c, out
// of the descriptions in src/calls.h; it says what they are and what they are
// spared.
//
// The ordinary check runs them for a minute, with KILN_LONG set for an hour.
// The seeds are new each time; the log has the first. To run others:
//
//	go test ./test/fuzz -run Programs -first 1 -time 10m -v
//
// A guest that ends is started anew behind the seed that ended it. That seed is
// tried by itself, and if it does the same again, calls are left out of it while
// the guest still ends. What is left is in the failure, as calls and as a line
// for testdata/seeds.txt, whose programs every run tries first. A finding that
// wants the programs before it is in the failure as a range of seeds.
//
// There is a generator of our own because syzkaller, which knows more of Linux's
// calls, is not served as a Go module.
package fuzz_test
