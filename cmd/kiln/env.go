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
Prints lines for a shell to evaluate, which put kiln and the compilers under
their names for cross-compilation in front of PATH:

  eval "$(kiln env)"

Then each build system cross-compiles as it always does:

  ./configure --host=x86_64-kiln-linux && make
  cmake -B build && cmake --build build
  meson setup --cross-file x86_64-kiln-linux build && ninja -C build

Unless told otherwise they install into the sysroot, KILN_SYSROOT, where the
compilers and pkg-config then find headers and libraries.

The compilers' names are links beside kiln. They, the sysroot's folders and the
build systems' files are made here if they are missing.`,
	flags: func(fs *pflag.FlagSet) action {
		summary := fs.Bool("summary", false, "print where the tools are, for people")
		return func(a *app, args []string, _ int) (int, error) {
			if len(args) != 0 {
				return 0, usageError{"env takes no arguments", ""}
			}
			return a.environment(*summary)
		}
	},
}

const summaryText = `>> toolchain tuple: %[1]s
>> cc wrapper: %[1]s-gcc
>> installed to "%[2]s"
>> libraries install to "%[3]s"
>> CMake toolchain file: %[4]s
>> Meson cross file: %[5]s (--cross-file %[1]s)
>> autoconf site file: %[6]s (./configure --host=%[1]s)
>>
>> Set tooldir to front of $PATH (bourne-style shells)
eval "$(%[7]s env)"
`

const environmentText = `export PATH=%s:"$PATH"
export KILN_SYSROOT=%s
export CMAKE_TOOLCHAIN_FILE=%s
export CONFIG_SITE=%s
`

// environment makes what the tool chain needs and prints where it is.
func (a *app) environment(summary bool) (int, error) {
	self, err := os.Executable()
	if err != nil {
		return exitFailure, err
	}
	dir, err := linkTools(self)
	if err != nil {
		return exitFailure, err
	}
	files, sysroot, err := a.toolchainFiles()
	if usage, ok := errors.AsType[*cc.UsageError](err); ok {
		return 0, usageError{usage.Error(), ""}
	} else if err != nil {
		return exitFailure, err
	}
	if summary {
		_, err = fmt.Fprintf(a.stdout, summaryText, cc.Tuple, dir, sysroot, files.CMake, files.Meson, files.Site, shellQuote(self))
	} else {
		_, err = fmt.Fprintf(a.stdout, environmentText, shellQuote(dir), shellQuote(sysroot), shellQuote(files.CMake), shellQuote(files.Site))
	}
	return 0, err
}

// toolchainFiles writes the build systems' files.
func (a *app) toolchainFiles() (cc.Files, string, error) {
	sysroot, err := cc.DefaultSysroot(a.getenv)
	if err != nil {
		return cc.Files{}, "", err
	}
	data, err := cc.DataDir(a.getenv)
	if err != nil {
		return cc.Files{}, "", err
	}
	files, err := cc.WriteFiles(data, filepath.Dir(data), sysroot)
	return files, sysroot, err
}

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
