package cc

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A call is what a compiler's arguments ask for, as far as we need to know.
type call struct {
	links bool     // it ends with linking
	bare  bool     // of a program with its own start or layout, or not for x86-64: leave it alone
	kind  string   // the way of linking that the arguments ask for, "" if they leave it open
	stdin bool     // it reads the standard input
	color bool     // it says itself whether diagnostics have colours
	flags []string // those that shape code
}

// takesNext are the options whose value is the next argument, if they stand
// alone (GCC's manual, "Option Summary").
var takesNext = map[string]bool{
	"-o": true, "-I": true, "-D": true, "-U": true, "-L": true, "-l": true, "-x": true, "-T": true, "-u": true,
	"-e": true, "-z": true, "-A": true, "-B": true, "-MF": true, "-MT": true, "-MQ": true, "-include": true,
	"-imacros": true, "-iprefix": true, "-iwithprefix": true, "-iwithprefixbefore": true, "-isystem": true,
	"-idirafter": true, "-iquote": true, "-isysroot": true, "-imultilib": true, "-aux-info": true,
	"-dumpbase": true, "-dumpbase-ext": true, "-dumpdir": true, "-Xlinker": true, "-Xassembler": true,
	"-Xpreprocessor": true, "--param": true, "-wrapper": true, "-specs": true, "--sysroot": true,
	"-Ttext": true, "-Tdata": true, "-Tbss": true,
}

// noLink are the options that end the work before the linker.
var noLink = []string{"-c", "-S", "-E", "-M", "-MM", "-fsyntax-only", "-###", "-r", "--version", "--target-help", "-dumpversion", "-dumpfullversion", "-dumpspecs", "-dumpmachine"}

// bareOptions make the program's start or layout its own, or make it one for
// another machine than ours.
var bareOptions = []string{"-nostdlib", "-nostartfiles", "-ffreestanding", "-m32", "-mx32", "-m16", "-r", "-T", "-Ttext", "-Tdata", "-Tbss"}

// headerSuffixes are those of files that GCC compiles, but does not link.
var headerSuffixes = []string{".h", ".hh", ".hpp", ".hxx", ".H", ".h++", ".hp", ".tcc"}

// readCall reads a compiler's arguments, without the program's name.
func readCall(args []string) call {
	c := call{}
	args = expandFiles(args)
	inputs, ends := 0, false
	for i := 0; i < len(args); i++ {
		a, next := args[i], ""
		if takesNext[a] && i+1 < len(args) {
			next = args[i+1]
			i++
		}
		ends = ends || slices.Contains(noLink, a) || strings.HasPrefix(a, "-print-") || strings.HasPrefix(a, "--help") ||
			a == "-x" && strings.HasSuffix(next, "-header")
		c.bare = c.bare || slices.Contains(bareOptions, a)
		switch {
		case a == "-" || a == "/dev/stdin":
			inputs++
			c.stdin = true
		case strings.HasPrefix(a, "/dev/fd/") || strings.HasPrefix(a, "/proc/self/fd/"):
			inputs++
			c.ask(Dynamic) // what can be read once is compiled once
		case !strings.HasPrefix(a, "-"):
			if !slices.Contains(headerSuffixes, filepath.Ext(a)) {
				inputs++
			}
			if isSharedObject(a) {
				c.ask(Dynamic)
			}
		case strings.HasPrefix(a, "-l"):
			inputs++
		case a == "-Xlinker":
			c.linker(next)
		case strings.HasPrefix(a, "-Wl,"):
			for _, w := range strings.Split(a[len("-Wl,"):], ",") {
				c.linker(w)
			}
		default:
			c.option(a)
		}
	}
	c.links = inputs > 0 && !ends
	return c
}

// isSharedObject reports whether a file's name is that of a shared library:
// "libx.so" or "libx.so.1.2".
func isSharedObject(name string) bool {
	base := filepath.Base(name)
	return strings.HasSuffix(base, ".so") || strings.Contains(base, ".so.")
}

// ask notes a way of linking that an argument wants. A shared library is one
// whatever else is said; a static program stays one.
func (c *call) ask(kind string) {
	if c.kind == "" || kind == Shared || c.kind == Dynamic {
		c.kind = kind
	}
}

// option looks at an argument of the compiler's own.
func (c *call) option(a string) {
	switch a {
	case "-static":
		c.ask(Static)
	case "-static-pie":
		c.ask(StaticPIE)
	case "-shared":
		c.ask(Shared)
	// Not position-independent, with symbols for libraries, or with a
	// run-time library that replaces the C library's functions: no
	// static-pie will do.
	case "-pie", "-no-pie", "-nopie", "-rdynamic":
		c.ask(Dynamic)
	}
	if strings.HasPrefix(a, "-fsanitize=") {
		c.ask(Dynamic)
	}
	if strings.HasPrefix(a, "-fdiagnostics-color") || strings.HasPrefix(a, "-fno-diagnostics-color") {
		c.color = true
	}
	// Paths say where something was built; the note does not.
	if strings.ContainsAny(a, "/ ") || len(c.flags) >= maxNoteFlags {
		return
	}
	for _, p := range []string{"-O", "-g", "-m", "-std=", "-f", "-no-pie", "-pie", "-pthread"} {
		if strings.HasPrefix(a, p) && !strings.HasPrefix(a, "-fdiagnostics") {
			c.flags = append(c.flags, a)
			return
		}
	}
}

// maxNoteFlags bounds the flags of the note.
const maxNoteFlags = 40

// linker looks at an argument for the linker.
func (c *call) linker(a string) {
	switch strings.TrimPrefix(a, "-") {
	case "-T", "T", "-script":
		c.bare = true
	case "shared", "-shared", "Bshareable", "-Bshareable":
		c.ask(Shared)
	case "Bdynamic", "-Bdynamic", "dy", "-dy", "call_shared", "-call_shared", "E", "export-dynamic", "-export-dynamic", "pie", "-pie":
		c.ask(Dynamic)
	}
	if strings.Contains(a, "-dynamic-list") || strings.Contains(a, "-dynamic-linker") || isSharedObject(a) && !strings.HasPrefix(a, "-") {
		c.ask(Dynamic)
	}
}

// maxArgumentFile bounds an argument file, in bytes.
const maxArgumentFile = 16 << 20

// expandFiles replaces each @FILE by the arguments in the file, as GCC does
// ("Overall Options"); a file that cannot be read stays as it is. Files in
// files are followed to a depth that ends any circle.
func expandFiles(args []string) []string { return expandTo(args, 8) }

func expandTo(args []string, depth int) []string {
	var out []string
	for _, a := range args {
		name, ok := strings.CutPrefix(a, "@")
		if st, err := os.Stat(name); !ok || err != nil || !st.Mode().IsRegular() || st.Size() > maxArgumentFile || depth == 0 {
			out = append(out, a)
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			out = append(out, a)
			continue
		}
		out = append(out, expandTo(splitArguments(string(b)), depth-1)...)
	}
	return out
}

// splitArguments splits the text of an argument file at white space, which
// quotes of both kinds and backslashes protect.
func splitArguments(s string) []string {
	var out []string
	var word []byte
	inWord, quote := false, byte(0)
	for i := 0; i < len(s); i++ {
		ch := s[i]
		switch {
		case ch == '\\' && i+1 < len(s):
			i++
			word, inWord = append(word, s[i]), true
		case quote != 0 && ch == quote:
			quote = 0
		case quote != 0:
			word = append(word, ch)
		case ch == '\'' || ch == '"':
			quote, inWord = ch, true
		case strings.IndexByte(" \t\n\r\v\f", ch) >= 0:
			if inWord {
				out = append(out, string(word))
			}
			word, inWord = nil, false
		default:
			word, inWord = append(word, ch), true
		}
	}
	if inWord {
		out = append(out, string(word))
	}
	return out
}
