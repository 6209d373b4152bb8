package cc

import (
	"fmt"
	"os"
)

// A libc is how to compile for a C library.
type libc struct {
	tool   tool     // the compiler, which knows the library
	args   []string // that it needs besides
	subdir string   // of the sysroot, for files that only this library suits
	specs  string   // what GCC must be told to link static-pie, "" if nothing
}

// muslDir is where Debian and Ubuntu have musl's files.
const muslDir = "/usr/lib/x86_64-linux-musl"

// muslSpecs makes GCC link static-pie against musl. The musl-gcc script's own
// specs know static and dynamic only. (GCC's manual, "Spec Files"; which files
// a static-pie starts and ends with: musl's rcrt1.o relocates the program.)
const muslSpecs = "*startfile:\n" + muslDir + "/rcrt1.o " + muslDir + "/crti.o crtbeginS.o%s\n\n" +
	"*endfile:\ncrtendS.o%s " + muslDir + "/crtn.o\n\n" +
	"*link:\n-static -pie --no-dynamic-linker -z text -nostdlib\n\n"

// chooseLibc returns how to compile for the named C library by the compiler t.
func chooseLibc(t tool, name string) (libc, error) {
	switch name {
	case "", "glibc":
		return libc{tool: t}, nil
	case "musl":
	default:
		return libc{}, &UsageError{fmt.Sprintf("there is no C library %q, only glibc and musl", name)}
	}
	m := libc{tool: tool{"musl-gcc", "musl-tools", true}, subdir: "/musl"}
	switch t.host {
	case "gcc":
	case "cpp":
		m.args = []string{"-E"}
	default:
		return libc{}, &UsageError{"there is no C++ library for musl; use glibc"}
	}
	// Another musl than the distribution's links as its script says.
	if _, err := os.Stat(muslDir + "/rcrt1.o"); err == nil {
		m.specs = muslSpecs
	}
	return m, nil
}
