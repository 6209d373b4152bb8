package main

import (
	"errors"

	"kiln/cc"
)

const ccLong = `
Calls the host's compiler with the flags that suit Kiln: any Linux program can
be baked, however it was built. The same compiler goes by the names that kiln
env puts on PATH, x86_64-kiln-linux-gcc and so on, for build systems that
compile for another machine.

Programs are linked to one file that can be loaded anywhere (static-pie) where
their libraries allow it, and to shared libraries otherwise. --link=KIND, or
KILN_LINK=KIND in the environment, is for those that know better: static-pie,
static, dynamic, or auto.

--libc=musl, or KILN_LIBC=musl, compiles for musl instead of glibc.

Headers and libraries in KILN_SYSROOT are found (kiln env).`

var (
	ccCommand = command{
		name: "cc", usage: "[--libc=glibc|musl] [--link=KIND] ARGUMENT…", short: "compile C", long: ccLong,
		raw: func(a *app, args []string) (int, error) { return a.compile(cc.Tuple, "gcc", args) },
	}
	cxxCommand = command{
		name: "c++", usage: "[--link=KIND] ARGUMENT…", short: "compile C++", long: ccLong,
		raw: func(a *app, args []string) (int, error) { return a.compile(cc.Tuple, "g++", args) },
	}
)

// compile runs a tool of the tool chain and returns its exit status. tuple is
// what the tool was called by.
func (a *app) compile(tuple, tool string, args []string) (int, error) {
	sysroot, err := cc.DefaultSysroot(a.getenv)
	if err != nil && a.getenv("KILN_SYSROOT") != "" {
		return 0, usageError{err.Error(), ""}
	} // else there is no folder for one, so there is none
	inv, err := cc.Translate(tool, args, cc.Settings{
		Tuple: tuple, Libc: a.getenv("KILN_LIBC"), Link: a.getenv("KILN_LINK"), Sysroot: sysroot, Color: a.hasColor(),
	})
	if err == nil {
		var code int
		if code, err = inv.Run(a.env, cc.Stdio{In: a.stdin, Out: a.stdout, Err: a.stderr}); err == nil {
			return code, nil
		}
	}
	if missing, ok := errors.AsType[*cc.MissingError](err); ok {
		return 0, usageError{err.Error(), "install the package " + missing.Package + ": sudo apt-get install " + missing.Package}
	}
	if usage, ok := errors.AsType[*cc.UsageError](err); ok {
		return 0, usageError{usage.Error(), ""}
	}
	return exitFailure, err
}
