package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"kiln/image"
)

// inspectSymbols prints the kernel's functions in an image: args are the image
// and perhaps a pattern.
func (a *app) inspectSymbols(args []string, asJSON bool) error {
	if len(args) < 1 || len(args) > 2 {
		return usageError{fmt.Sprintf("%d arguments, want an image and perhaps a pattern", len(args)), "kiln inspect --symbols IMAGE [PATTERN]"}
	}
	path, pattern := args[0], ""
	if len(args) == 2 {
		pattern = args[1]
	}
	match, err := symbolPattern(pattern)
	if err != nil {
		return err
	}
	if path, err = a.packageImage(path); err != nil {
		return err
	}
	isImage, err := image.IsImage(path)
	if err != nil {
		return err
	}
	if !isImage {
		return usageError{path + " is not an image", "nm shows the symbols of programs"}
	}
	all, err := image.OpenSymbols(path)
	if errors.Is(err, image.ErrNoSymbols) {
		return usageError{err.Error(), "its kernel program is not one of Go's, or was linked without them"}
	}
	if err != nil {
		return err
	}
	picked := []image.Symbol{}
	for _, s := range all {
		if match(s) {
			picked = append(picked, s)
		}
	}
	if len(picked) == 0 {
		return usageError{fmt.Sprintf("%s: none of %d functions matches %q", path, len(all), pattern), ""}
	}
	return printSymbols(a.stdout, picked, asJSON)
}

// symbolPattern returns what picks the functions that pattern means.
func symbolPattern(pattern string) (func(image.Symbol) bool, error) {
	if strings.HasPrefix(pattern, "0x") {
		at, err := strconv.ParseUint(pattern, 0, 64)
		if err != nil {
			return nil, usageError{fmt.Sprintf("pattern %s: not an address of 64 bits", pattern), ""}
		}
		return func(s image.Symbol) bool {
			return at >= s.Virtual && at-s.Virtual < s.Size || at >= s.Phys && at-s.Phys < s.Size
		}, nil
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, usageError{fmt.Sprintf("pattern %q: %v", pattern, err), `a regular expression, "frame.*Alloc", or an address, 0x…`}
	}
	return func(s image.Symbol) bool { return re.MatchString(s.Name) }, nil
}

// printSymbols prints the symbols in their order.
func printSymbols(out io.Writer, symbols []image.Symbol, asJSON bool) error {
	if asJSON {
		return printJSON(out, symbols)
	}
	w := bufio.NewWriter(out)
	const columns = "%-18s  %-9s  %6s  %-7s  %s\n"
	fmt.Fprintf(w, columns, "VIRTUAL", "PHYSICAL", "SIZE", "PROGRAM", "FUNCTION")
	for _, s := range symbols {
		fmt.Fprintf(w, columns, fmt.Sprintf("%#x", s.Virtual), fmt.Sprintf("%#x", s.Phys), strconv.FormatUint(s.Size, 10), s.Program, s.Name)
	}
	return w.Flush()
}
