// Package cc is the front of the compiler: it turns a call of one of Kiln's
// compiler names into a call of the host's.
//
// A Kiln program is a Linux program, so the host's compiler, libraries and
// binutils are the tool chain, native or not as to the host. What is added is
// what helps behind the compiler: a macro to know Kiln by, and frame pointers,
// so that a crash inside the unikernel can be traced back.
package cc

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// Tuple is the name of the target, in the GNU form.
const Tuple = "x86_64-kiln-linux"

// tool is a program of the tool chain.
type tool struct {
	host    string // the host's name for it
	pkg     string // package of Debian and Ubuntu that has it
	compile bool   // takes a compiler's flags
}

// tools is what follows the tuple in a tool's name.
var tools = map[string]tool{
	"gcc":        {"gcc", "gcc", true},
	"cc":         {"gcc", "gcc", true},
	"g++":        {"g++", "g++", true},
	"c++":        {"g++", "g++", true},
	"cpp":        {"cpp", "cpp", true},
	"ar":         {"ar", "binutils", false},
	"as":         {"as", "binutils", false},
	"ld":         {"ld", "binutils", false},
	"nm":         {"nm", "binutils", false},
	"objcopy":    {"objcopy", "binutils", false},
	"objdump":    {"objdump", "binutils", false},
	"ranlib":     {"ranlib", "binutils", false},
	"readelf":    {"readelf", "binutils", false},
	"strip":      {"strip", "binutils", false},
	"pkg-config": {"pkg-config", "pkg-config", false},
}

// musl is the C compiler for the musl library.
var musl = tool{"musl-gcc", "musl-tools", true}

// Names returns the names of all tools, with the tuple, sorted.
func Names() []string {
	var names []string
	for t := range tools {
		names = append(names, Tuple+"-"+t)
	}
	slices.Sort(names)
	return names
}

// ToolName returns the tool that a program name means: "gcc" for
// "x86_64-kiln-linux-gcc". It reports false if that is none.
func ToolName(program string) (string, bool) {
	name, ok := strings.CutPrefix(program, Tuple+"-")
	if !ok {
		return "", false
	}
	_, ok = tools[name]
	return name, ok
}

// Invocation is what to do for a call.
type Invocation struct {
	Print string   // print this line and be done, if not empty
	Path  string   // else run this program
	Args  []string // with these arguments, without argv[0]
}

// MissingError is a tool that the host does not have.
type MissingError struct {
	Tool    string
	Package string
}

func (e *MissingError) Error() string { return e.Tool + ": not found in PATH" }

// UsageError is a call that cannot be carried out.
type UsageError struct{ Msg string }

func (e *UsageError) Error() string { return e.Msg }

// flags come before the user's, which may take them back.
var flags = []string{"-D__KILN__=1", "-fno-omit-frame-pointer"}

// Translate returns what to do for a call of the named tool. libc is the C
// library, "glibc" or "musl", "" for glibc; a --libc=NAME among args has
// precedence.
func Translate(name string, args []string, libc string) (Invocation, error) {
	t, ok := tools[name]
	if !ok {
		return Invocation{}, &UsageError{fmt.Sprintf("there is no tool %q", name)}
	}
	if t.compile {
		var err error
		if t, args, err = compiler(t, args, libc); err != nil {
			return Invocation{}, err
		}
		if slices.Contains(args, "-dumpmachine") {
			return Invocation{Print: Tuple}, nil
		}
		args = slices.Concat(flags, args)
	}
	path, err := exec.LookPath(t.host)
	if err != nil {
		return Invocation{}, &MissingError{t.host, t.pkg}
	}
	return Invocation{Path: path, Args: args}, nil
}

// compiler takes --libc from args and chooses the compiler by it.
func compiler(t tool, args []string, libc string) (tool, []string, error) {
	args = slices.DeleteFunc(slices.Clone(args), func(a string) bool {
		name, ok := strings.CutPrefix(a, "--libc=")
		if ok {
			libc = name
		}
		return ok
	})
	switch libc {
	case "", "glibc":
		return t, args, nil
	case "musl":
	default:
		return tool{}, nil, &UsageError{fmt.Sprintf("there is no C library %q, only glibc and musl", libc)}
	}
	switch t.host {
	case "gcc":
		return musl, args, nil
	case "cpp":
		return musl, append([]string{"-E"}, args...), nil
	}
	return tool{}, nil, &UsageError{"there is no C++ library for musl; use glibc"}
}
