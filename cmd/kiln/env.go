package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"kiln/cc"
)

var envCommand = command{
	name:  "env",
	usage: "[--summary] [--install DIR]",
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

The compilers' names and those of Rumprun's commands are links beside kiln.
They, the sysroot's folders and the build systems' files are made here if they
are missing.

--install makes links to this kiln in DIR/rumprun/bin instead, and
DIR/obj-amd64-hw/config-PATH.sh for a shell to read: the layout of a Rumprun
tree.`,
	flags: func(fs *pflag.FlagSet) action {
		summary := fs.Bool("summary", false, "print where the tools are, for people")
		install := fs.String("install", "", "put the names of all tools in place in `DIR`, and say where")
		return func(a *app, args []string, _ int) (int, error) {
			if len(args) != 0 {
				return 0, usageError{"env takes no arguments", ""}
			}
			return a.environment(*summary, *install)
		}
	},
}

const summaryText = `>> toolchain tuple: %[1]s (also %[7]s)
>> cc wrapper: %[1]s-gcc (also %[7]s-gcc)
>> installed to "%[2]s"
>> libraries install to "%[3]s"
>> CMake toolchain file: %[4]s
>> Meson cross file: %[5]s (--cross-file %[1]s)
>> autoconf site file: %[6]s (./configure --host=%[1]s)
>>
>> Set tooldir to front of $PATH (bourne-style shells)
%[8]s
`

const environmentText = `export PATH=%s:"$PATH"
export KILN_SYSROOT=%s
export CMAKE_TOOLCHAIN_FILE=%s
export CONFIG_SITE=%s
`

// environment makes what the tool chain needs and prints where it is. install
// is the folder in which the tools get their names, "" for kiln's own.
func (a *app) environment(summary bool, install string) (int, error) {
	self, err := os.Executable()
	if err != nil {
		return exitFailure, err
	}
	files, sysroot, err := a.toolchainFiles()
	if usage, ok := errors.AsType[*cc.UsageError](err); ok {
		return 0, usageError{usage.Error(), ""}
	} else if err != nil {
		return exitFailure, err
	}
	lines := func(dir string) string {
		return fmt.Sprintf(environmentText, shellQuote(dir), shellQuote(sysroot), shellQuote(files.CMake), shellQuote(files.Site))
	}
	dir, base := filepath.Split(self)
	dir = filepath.Clean(dir)
	forShell := fmt.Sprintf("eval \"$(%s env)\"", shellQuote(self))
	if install != "" {
		dir, forShell, err = installTools(self, install, lines)
	} else {
		err = linkTools(dir, base)
	}
	if err != nil {
		return exitFailure, err
	}
	if summary || install != "" {
		_, err = fmt.Fprintf(a.stdout, summaryText, cc.Tuple, dir, sysroot, files.CMake, files.Meson, files.Site, cc.RumprunTuple, forShell)
	} else {
		_, err = fmt.Fprint(a.stdout, lines(dir))
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

// shellQuote returns s as one word of a bourne-style shell.
func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
