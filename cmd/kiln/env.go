package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"kiln/cc"
)

var envCommand = command{
	name:  "env",
	usage: "[--summary]",
	short: "print what puts the tools on PATH",
	long: `
Prints a line for a shell to evaluate, which puts kiln and the compilers under
their names for cross-compilation in front of PATH:

  eval "$(kiln env)"

The compilers' names are links beside kiln, made here if they are missing.`,
	flags: func(fs *pflag.FlagSet) action {
		summary := fs.Bool("summary", false, "print where the tools are, for people")
		return func(a *app, args []string, _ int) (int, error) {
			if len(args) != 0 {
				return 0, usageError{"env takes no arguments", ""}
			}
			self, err := os.Executable()
			if err != nil {
				return exitFailure, err
			}
			dir, err := linkTools(self)
			if err != nil {
				return exitFailure, err
			}
			if *summary {
				_, err = fmt.Fprintf(a.stdout, summaryText, cc.Tuple, cc.Tuple, dir, shellQuote(self))
			} else {
				_, err = fmt.Fprintf(a.stdout, "export PATH=%s:\"$PATH\"\n", shellQuote(dir))
			}
			return 0, err
		}
	},
}

const summaryText = `>> toolchain tuple: %s
>> cc wrapper: %s-gcc
>> installed to "%s"
>>
>> Set tooldir to front of $PATH (bourne-style shells)
eval "$(%s env)"
`

// linkTools makes the tools' names beside the kiln command at self, where
// they are missing, and returns the folder.
func linkTools(self string) (string, error) {
	dir, base := filepath.Split(self)
	dir = filepath.Clean(dir)
	for _, name := range cc.Names() {
		link := filepath.Join(dir, name)
		target, err := os.Readlink(link)
		if err == nil && target == base {
			continue
		}
		if err == nil { // a link to another kiln
			if err := os.Remove(link); err != nil {
				return "", err
			}
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("%s is in the way: %w", link, err)
		}
		if err := os.Symlink(base, link); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", err
		}
	}
	return dir, nil
}

// shellQuote returns s as one word of a bourne-style shell.
func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
