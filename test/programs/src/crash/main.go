// Command crash is a kernel program that ends in the ways a kernel can, by its
// argument. It is baked with kiln bake --kernel.
package main

import (
	"fmt"
	"os"
	"reflect"
	"runtime/debug"
	"strings"
	"syscall"
	"unsafe"
)

func main() {
	switch os.Args[1] {
	case "panic":
		panic("crash on purpose")
	case "nil":
		defer func() { fmt.Println("recovered:", recover()); os.Exit(3) }()
		var p *int
		*p = 1
	case "overflow":
		debug.SetMaxStack(1 << 20)
		fmt.Println(recurse(0))
	case "memory":
		for {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = 1
			}
			kept = append(kept, b)
		}
	case "protection", "page", "write":
		fault(os.Args[1])
	case "protection-blocked", "page-blocked", "write-blocked":
		// A signal that the Go runtime cannot take: metal reports.
		all := ^uint64(0)
		syscall.RawSyscall6(syscall.SYS_RT_SIGPROCMASK, 0, uintptr(unsafe.Pointer(&all)), 0, 8, 0, 0)
		what, _, _ := strings.Cut(os.Args[1], "-")
		fault(what)
	case "status":
		os.Exit(200)
	}
}

var kept [][]byte

// fault raises an exception of the kind that kind names.
func fault(kind string) {
	addr := uintptr(0xffffd0ffffff0000) // no stack is there
	if kind == "protection" {
		addr = 1 << 63 // not canonical
	}
	p := *(**int)(unsafe.Pointer(&addr))
	if kind == "write" {
		p = (*int)(unsafe.Pointer(reflect.ValueOf(main).Pointer())) // code
		*p = 1
	}
	fmt.Println(*p)
}

//go:noinline
func recurse(n int) int {
	var pad [100]int
	pad[n%100] = n
	return recurse(n+1) + pad[3]
}
