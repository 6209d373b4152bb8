package main

import "slices"

// A pkg is one package of the standard library whose tests run on the metal, or
// as a program.
type pkg struct {
	path    string
	fast    bool     // part of the fast third
	needs   []string // of a program: what else its tests read, below GOROOT
	run     string   // -test.run, "" for all
	tags    string   // build tags for both binaries
	godebug string   // GODEBUG on both sides
	skip    []string // from skips.txt or exceptions.txt
}

// runtimeTests are those tests of package runtime that exercise what metal
// provides: threads, memory, signals, timers.
const runtimeTests = "^Test(GC|Chan|Map|Defer|Stack|Panic|Goroutine|Timer|Sched|Finalizer|Select|Goexit|Recursive)"

// packages is the table of issue 2. The fast third is chosen for what it asks
// of metal, not only for being quick: blocking, timers, collection, weak
// pointers, big reads of entropy.
var packages = []pkg{
	{path: "sync", fast: true},
	{path: "sync/atomic", fast: true},
	// The guest has no time zone files, and without a data base the
	// package's tests do not start: link it in.
	{path: "time", tags: "timetzdata"},
	{path: "math/big"},
	{path: "math/rand/v2"},
	{path: "sort", fast: true},
	{path: "strings"},
	{path: "bytes"},
	{path: "strconv"},
	{path: "container/heap", fast: true},
	{path: "container/list", fast: true},
	{path: "container/ring", fast: true},
	{path: "encoding/json"},
	{path: "encoding/binary", fast: true},
	{path: "hash/adler32"},
	{path: "hash/crc32"},
	{path: "hash/crc64"},
	{path: "hash/fnv"},
	{path: "hash/maphash"},
	// QEMU's translator has no SHA instructions, and kiln run leaves out AVX
	// there, so the tests of those implementations would run on one side only
	// where the host's CPU has them.
	{path: "crypto/sha256", godebug: "cpu.sha=off,cpu.avx2=off"},
	{path: "crypto/ed25519"},
	{path: "compress/flate"},
	{path: "regexp"},
	{path: "text/template"},
	{path: "context", fast: true},
	{path: "unique", fast: true},
	{path: "weak", fast: true},
	{path: "runtime", run: runtimeTests},
}

// choose returns the packages of a table to run: those named in only, or the
// fast ones, or all. It reports the first name in only that is not in the table.
func choose(table []pkg, only []string, fast bool) (chosen []pkg, unknown string) {
	for _, name := range only {
		if !slices.ContainsFunc(table, func(p pkg) bool { return p.path == name }) {
			return nil, name
		}
	}
	for _, p := range table {
		switch {
		case len(only) > 0 && !slices.Contains(only, p.path):
		case len(only) == 0 && fast && !p.fast:
		default:
			chosen = append(chosen, p)
		}
	}
	return chosen, ""
}
