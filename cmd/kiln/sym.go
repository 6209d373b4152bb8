package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"kiln/debug/symbols"
	"kiln/image"
)

var symCommand = command{
	name:  "sym",
	usage: "[--json] [--in OBJECT] IMAGE [PATTERN|ADDRESS]",
	short: "list functions and variables of kernel and programs, or what lies at an address",
	long: `
Lists what has a name in an image, as nm does: functions and variables of the
kernel's two programs, metal and kernel, and of each program and library in the
image. PATTERN picks those whose names match a regular expression, and --in
those of one OBJECT, which is metal, kernel, or a file's path in the image.

Of the kernel's, the physical address is shown, too, where the image has them.
Addresses of programs that can be loaded anywhere count from where they are.

The kinds are nm's: T code, D data, B zeroed data, R constants; small letters
are for names that only one file of the source can see.

An ADDRESS, 0x…, virtual or physical, shows what lies there, how far behind its
beginning, and the line of the source, if it is known.

A stripped program's symbols are taken from Debian's debug packages, where they
are installed on this machine (/usr/lib/debug).`,
	flags: func(fs *pflag.FlagSet) action {
		asJSON := fs.Bool("json", false, "print JSON")
		in := fs.String("in", "", "show only what is in `OBJECT`")
		return func(a *app, args []string, _ int) (int, error) {
			if len(args) < 1 || len(args) > 2 {
				return 0, usageError{fmt.Sprintf("%d arguments, want an image and perhaps a name or an address", len(args)), "kiln sym IMAGE [PATTERN|ADDRESS]"}
			}
			return 0, a.sym(args[0], append(args[1:], "")[0], *in, *asJSON)
		}
	},
}

// sym prints what has a name in an image: what pattern picks, of object in, or
// all if they are "".
func (a *app) sym(name, pattern, in string, asJSON bool) error {
	path, err := a.imageAt(name)
	if err != nil {
		return err
	}
	objects, err := a.namedObjects(path, in)
	if err != nil {
		return err
	}
	if strings.HasPrefix(pattern, "0x") {
		return symAt(a.stdout, path, objects, pattern, asJSON)
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return usageError{fmt.Sprintf("pattern %q: %v", pattern, err), `a regular expression, "frame.*Alloc", or an address, 0x…`}
	}
	picked, total := []symbols.Symbol{}, 0
	for _, o := range objects {
		total += len(o.Symbols)
		for _, s := range o.Symbols {
			if re.MatchString(s.Name) {
				picked = append(picked, s)
			}
		}
	}
	if len(picked) == 0 {
		return usageError{fmt.Sprintf("%s: none of %d names matches %q", path, total, pattern), ""}
	}
	return printNames(a.stdout, picked, asJSON)
}

// namedObjects returns the objects with names in the image at path, or only the
// one that in names.
func (a *app) namedObjects(path, in string) ([]*symbols.Object, error) {
	var objects []*symbols.Object
	var err error
	ring0 := in == image.ProgramMetal || in == image.ProgramKernel
	if in == "" || ring0 {
		if objects, err = a.kernelObjects(path); err != nil {
			return nil, err
		}
	}
	if !ring0 {
		programs, err := symbols.Programs(path, symbols.DebugFolder)
		if err != nil {
			return nil, err
		}
		objects = append(objects, programs...)
	}
	if in == "" {
		return objects, nil
	}
	objects = slices.DeleteFunc(objects, func(o *symbols.Object) bool { return o.Name != in })
	if len(objects) == 0 {
		return nil, usageError{fmt.Sprintf("--in %s: %s has no such object with symbols", in, path), "metal, kernel, or a path that kiln inspect lists"}
	}
	return objects, nil
}

// kernelObjects returns the ring-0 programs' names in the image at path: all, if
// what the build has kept of them is here, and else the functions.
func (a *app) kernelObjects(path string) ([]*symbols.Object, error) {
	parts, err := a.debugParts(path)
	if missing, ok := errors.AsType[*debugMissing](err); ok {
		objects, err := symbols.Functions(path)
		if errors.Is(err, image.ErrNoSymbols) {
			return nil, nil
		}
		a.note([]string{"of the kernel, functions only: " + missing.Error()})
		return objects, err
	}
	if err != nil {
		return nil, err
	}
	img, err := image.OpenUnchecked(path)
	if err != nil {
		return nil, err
	}
	return symbols.Kernel(img, parts)
}

// found is what lies at an address.
type found struct {
	symbols.Symbol
	Offset uint64 `json:"offset"`         // of the address in the symbol
	Line   string `json:"line,omitempty"` // file:line
}

// symAt prints what lies at address at, which is text.
func symAt(out io.Writer, path string, objects []*symbols.Object, at string, asJSON bool) error {
	addr, err := strconv.ParseUint(at, 0, 64)
	if err != nil {
		return usageError{fmt.Sprintf("%s is not an address of 64 bits", at), ""}
	}
	all := []found{}
	for _, o := range objects {
		for _, s := range o.At(addr) {
			all = append(all, found{s, addr - s.Address, o.Line(addr)})
		}
		for _, s := range o.Symbols {
			if off := addr - s.Physical; s.Physical != 0 && addr >= s.Physical && off < s.Size {
				all = append(all, found{s, off, o.Line(s.Address + off)})
			}
		}
	}
	if len(all) == 0 {
		return usageError{fmt.Sprintf("%s: nothing with a name lies at %s", path, at), ""}
	}
	if asJSON {
		return printJSON(out, all)
	}
	w := bufio.NewWriter(out)
	for _, f := range all {
		fmt.Fprintf(w, "%s+%#x  %s", f.Name, f.Offset, f.Object)
		if f.Line != "" {
			fmt.Fprintf(w, "  %s", f.Line)
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

// printNames prints symbols in their order.
func printNames(out io.Writer, list []symbols.Symbol, asJSON bool) error {
	if asJSON {
		return printJSON(out, list)
	}
	w := bufio.NewWriter(out)
	const columns = "%-18s  %-10s  %8s  %s  %-7s  %s\n"
	fmt.Fprintf(w, columns, "ADDRESS", "PHYSICAL", "SIZE", "K", "OBJECT", "NAME")
	for _, s := range list {
		phys := "-"
		if s.Physical != 0 {
			phys = fmt.Sprintf("%#x", s.Physical)
		}
		fmt.Fprintf(w, columns, fmt.Sprintf("%#x", s.Address), phys, strconv.FormatUint(s.Size, 10), s.Kind, s.Object, s.Name)
	}
	return w.Flush()
}
