package main

import (
	"errors"
	"fmt"
	"os/exec"

	"kiln/cc"
)

const ccLong = `
Calls the host's compiler with the flags that suit Kiln: any Linux program can
be baked, however it was built. The same compiler goes by the names that kiln
env puts on PATH, x86_64-kiln-linux-gcc and so on, for build systems that
compile for another machine.

--libc=musl, or KILN_LIBC=musl in the environment, compiles for musl instead
of glibc.`

var (
	ccCommand = command{
		name: "cc", usage: "[--libc=glibc|musl] ARGUMENT…", short: "compile C", long: ccLong,
		raw: func(a *app, args []string) (int, error) { return a.compile("gcc", args) },
	}
	cxxCommand = command{
		name: "c++", usage: "ARGUMENT…", short: "compile C++", long: ccLong,
		raw: func(a *app, args []string) (int, error) { return a.compile("g++", args) },
	}
)

// compile runs a tool of the tool chain and returns its exit status.
func (a *app) compile(tool string, args []string) (int, error) {
	inv, err := cc.Translate(tool, args, a.getenv("KILN_LIBC"))
	if missing, ok := errors.AsType[*cc.MissingError](err); ok {
		return 0, usageError{err.Error(), "install the package " + missing.Package + ": sudo apt-get install " + missing.Package}
	}
	if err != nil {
		return 0, usageError{err.Error(), ""}
	}
	if inv.Print != "" {
		_, err := fmt.Fprintln(a.stdout, inv.Print)
		return 0, err
	}
	cmd := exec.Command(inv.Path, inv.Args...)
	cmd.Env = a.env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.stdin, a.stdout, a.stderr
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if code := exit.ExitCode(); code >= 0 {
			return code, nil
		}
	}
	if err != nil {
		return exitFailure, err
	}
	return 0, nil
}
