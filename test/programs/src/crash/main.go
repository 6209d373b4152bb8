// Command crash is a kernel program that ends in the ways a kernel can, by its
// argument. It is baked with kiln bake --kernel.
package main

import (
	"fmt"
	"os"
	"runtime/debug"
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
	case "status":
		os.Exit(200)
	}
}

var kept [][]byte

//go:noinline
func recurse(n int) int {
	var pad [100]int
	pad[n%100] = n
	return recurse(n+1) + pad[3]
}
