// Package cc is the front of the compiler: it turns a call of one of Kiln's
// compiler names into a call of the host's.
//
// A Kiln program is a Linux program, so the host's compiler, libraries and
// binutils are the tool chain, native or not as to the host. What is added is
// what helps behind the compiler: a macro to know Kiln by, frame pointers and
// line numbers, so that a crash inside the unikernel can be traced back, a
// sysroot for libraries that were built, one file instead of many where the
// libraries allow it (link.go), and a note that says how a file was built.
package cc

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
)

// Tuple is the name of the target, in the GNU form.
const Tuple = "x86_64-kiln-linux"

// RumprunTuple is Rumprun's name for its target: whoever knows its compiler by
// that name gets ours.
const RumprunTuple = "x86_64-rumprun-netbsd"

// tuples are the prefixes of our tools' names, Tuple first.
var tuples = []string{Tuple, RumprunTuple}

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
	"addr2line":  {"addr2line", "binutils", false},
	"ar":         {"ar", "binutils", false},
	"as":         {"as", "binutils", false},
	"gcc-ar":     {"gcc-ar", "gcc", false},
	"gcc-nm":     {"gcc-nm", "gcc", false},
	"gcc-ranlib": {"gcc-ranlib", "gcc", false},
	"ld":         {"ld", "binutils", false},
	"nm":         {"nm", "binutils", false},
	"objcopy":    {"objcopy", "binutils", false},
	"objdump":    {"objdump", "binutils", false},
	"ranlib":     {"ranlib", "binutils", false},
	"readelf":    {"readelf", "binutils", false},
	"size":       {"size", "binutils", false},
	"strings":    {"strings", "binutils", false},
	"strip":      {"strip", "binutils", false},
	"pkg-config": {"pkg-config", "pkg-config", false},
}

// Names returns the names of all tools, with each tuple, sorted.
func Names() []string {
	var names []string
	for _, tuple := range tuples {
		for t := range tools {
			names = append(names, tuple+"-"+t)
		}
	}
	slices.Sort(names)
	return names
}

// ToolName returns the tool that a program name means, and the tuple before
// it: "gcc" for "x86_64-kiln-linux-gcc". It reports false if that is none.
func ToolName(program string) (tuple, name string, ok bool) {
	for _, tuple := range tuples {
		if name, ok := strings.CutPrefix(program, tuple+"-"); ok {
			_, ok = tools[name]
			return tuple, name, ok
		}
	}
	return "", "", false
}

// Settings are what the environment says about all calls.
type Settings struct {
	Tuple   string // that the tool was called by; "" for Tuple
	Libc    string // "glibc" or "musl"; "" for glibc
	Link    string // a link kind (link.go); "" to find out
	Sysroot string // folder of libraries built for Kiln; "" for none
	Color   bool   // diagnostics go to a terminal that shows colours
}

// Invocation is what to do for a call.
type Invocation struct {
	Print string   // print this line and be done, if not empty
	Path  string   // else run this program
	Args  []string // with these arguments, without argv[0]
	Env   []string // and these variables, if the environment lacks them

	// Links, if not empty, are ways to link, of which the first that works
	// is taken; each adds to Args.
	Links []Link
	Stdin bool // the program reads its standard input

	tuple string
	flags []string // for the note
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

// flags come before the user's, which may take them back. A -g of the user's
// raises the level of -g1, which is line numbers only.
var flags = []string{"-D__KILN__=1", "-g1", "-fno-omit-frame-pointer"}

// Translate returns what to do for a call of the named tool. Among args,
// --libc=NAME and --link=KIND have precedence over the settings.
func Translate(name string, args []string, set Settings) (Invocation, error) {
	t, ok := tools[name]
	if !ok {
		return Invocation{}, &UsageError{fmt.Sprintf("there is no tool %q", name)}
	}
	if set.Tuple == "" {
		set.Tuple = Tuple
	}
	if !t.compile {
		path, err := exec.LookPath(t.host)
		if err != nil {
			return Invocation{}, &MissingError{t.host, t.pkg}
		}
		inv := Invocation{Path: path, Args: args, Stdin: true}
		if t.host == "pkg-config" {
			inv.Env = pkgConfigEnv(path, set.Sysroot)
		}
		return inv, nil
	}
	return translateCompiler(t, args, set)
}

// translateCompiler is Translate for compilers.
func translateCompiler(t tool, args []string, set Settings) (Invocation, error) {
	args, err := ownOptions(args, &set)
	if err != nil {
		return Invocation{}, err
	}
	lib, err := chooseLibc(t, set.Libc)
	if err != nil {
		return Invocation{}, err
	}
	if slices.Contains(args, "-dumpmachine") {
		return Invocation{Print: set.Tuple}, nil
	}
	path, err := exec.LookPath(lib.tool.host)
	if err != nil {
		return Invocation{}, &MissingError{lib.tool.host, lib.tool.pkg}
	}
	c := readCall(args)
	inv := Invocation{Path: path, Stdin: c.stdin, tuple: set.Tuple, flags: c.flags}
	inv.Args = slices.Concat(flags, lib.args)
	if set.Color && !c.color {
		inv.Args = append(inv.Args, "-fdiagnostics-color=always")
	}
	inv.Args = append(inv.Args, args...)
	if c.bare {
		return inv, nil
	}
	if set.Sysroot != "" {
		set.Sysroot += lib.subdir
	}
	inv.Args = append(inv.Args, includeFlags(set.Sysroot)...)
	if c.links && t.host != "cpp" {
		inv.Links, err = linkWays(c, lib, set)
	}
	return inv, err
}

// ownOptions takes the options that are ours from args, into set.
func ownOptions(args []string, set *Settings) ([]string, error) {
	args = slices.DeleteFunc(slices.Clone(args), func(a string) bool {
		if name, ok := strings.CutPrefix(a, "--libc="); ok {
			set.Libc = name
			return true
		}
		if kind, ok := strings.CutPrefix(a, "--link="); ok {
			set.Link = kind
			return true
		}
		if a == "-dynamic" { // other systems' word for it; GCC has none
			set.Link = Dynamic
			return true
		}
		return false
	})
	if set.Link == "auto" {
		set.Link = ""
	}
	if set.Link != "" && !slices.Contains(Kinds, set.Link) {
		return nil, &UsageError{fmt.Sprintf("there is no way of linking called %q, only auto, %s", set.Link, strings.Join(Kinds, ", "))}
	}
	return args, nil
}
