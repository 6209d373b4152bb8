// Command kiln compiles, bakes and runs unikernels.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"kiln/bake"
	"kiln/cc"
	"kiln/image"
	"kiln/instance"
	"kiln/run"
)

func main() {
	if !checkFiles(os.Args[0], os.Stderr) {
		os.Exit(exitFailure)
	}
	os.Exit(Main(os.Args, os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}

// exitFailure is the exit status of a command that failed for no fault of the
// user's, or of the program's.
const exitFailure = 1

// command is one of kiln's.
type command struct {
	name  string
	usage string // what follows the name
	short string // one line
	long  string
	// flags adds the command's flags to fs and returns what runs it. It is
	// nil if the command takes its arguments as they are.
	flags func(fs *pflag.FlagSet) action
	raw   func(a *app, args []string) (int, error)
	// argsEnd says that the flags end at the first argument that is none.
	argsEnd bool
}

// action runs a command. dash is the number of arguments before a "--", -1 if
// there was none.
type action func(a *app, args []string, dash int) (int, error)

// app is one call of kiln.
type app struct {
	name   string // the command, for messages: "kiln run"
	all    []command
	args   []string // what follows the command
	env    []string
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
}

// commands are in the order of the flow.
func commands() []command {
	return []command{ccCommand, cxxCommand, bakeCommand, runCommand,
		psCommand, logsCommand, attachCommand, execCommand, cpCommand, topCommand, statsCommand, stopCommand, killCommand, startCommand, restartCommand, waitCommand, portCommand,
		renameCommand, rmCommand, eventsCommand,
		diskCommand, volumeCommand, inspectCommand, symCommand, gdbCommand, packageCommand, envCommand, versionCommand,
		rumprunBakeCommand, rumprunCommand, rumpstopCommand}
}

// rumprunNames are the commands that also go by their own names.
var rumprunNames = []string{rumprunBakeCommand.name, rumprunCommand.name, rumpstopCommand.name}

// Main is kiln, called with argv and the environment env. It returns the exit
// status.
func Main(argv, env []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{name: "kiln", all: commands(), env: env, stdin: stdin, stdout: stdout, stderr: stderr}
	code, err := a.dispatch(argv)
	if err != nil {
		code = a.complain(err, code)
	}
	return code
}

// dispatch finds the command and runs it.
func (a *app) dispatch(argv []string) (int, error) {
	if tuple, tool, ok := cc.ToolName(filepath.Base(argv[0])); ok {
		a.name = filepath.Base(argv[0])
		return a.compile(tuple, tool, argv[1:])
	}
	switch name := filepath.Base(argv[0]); {
	case name == supervisorName:
		return a.supervisor(argv[1:])
	case slices.Contains(rumprunNames, name):
		c, _ := a.find(name)
		a.name = name
		return c.raw(a, argv[1:])
	}
	if len(argv) < 2 {
		io.WriteString(a.stderr, a.overview())
		return run.ExitUsage, nil
	}
	name, args := argv[1], argv[2:]
	switch name {
	case "help", "-h", "--help":
		return a.help(args)
	case "--version":
		name = "version"
	}
	c, ok := a.find(name)
	if !ok {
		return 0, usageError{fmt.Sprintf("there is no command %q", name), "kiln help lists the commands"}
	}
	a.name = "kiln " + c.name
	if c.raw != nil {
		return c.raw(a, args)
	}
	return c.run(a, args)
}

func (a *app) find(name string) (command, bool) {
	for _, c := range a.all {
		if c.name == name {
			return c, true
		}
	}
	return command{}, false
}

// flagSet returns the command's flags and its action.
func (c command) flagSet() (*pflag.FlagSet, action) {
	fs := pflag.NewFlagSet(c.name, pflag.ContinueOnError)
	fs.SortFlags = false
	fs.SetInterspersed(!c.argsEnd)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	return fs, c.flags(fs)
}

// run parses the arguments and runs the command.
func (c command) run(a *app, args []string) (int, error) {
	a.args = args
	fs, act := c.flagSet()
	err := fs.Parse(args)
	if errors.Is(err, pflag.ErrHelp) {
		return a.help([]string{c.name})
	}
	if err != nil {
		return 0, usageError{err.Error(), "kiln help " + c.name + " lists the flags"}
	}
	return act(a, fs.Args(), fs.ArgsLenAtDash())
}

// usageError is a command line that makes no sense.
type usageError struct{ msg, hint string }

func (e usageError) Error() string { return e.msg }

// complain prints err and returns the exit status: code if it says one.
func (a *app) complain(err error, code int) int {
	hint := ""
	switch e := err.(type) {
	case usageError:
		hint, code = e.hint, run.ExitUsage
	case *run.Error:
		hint, code = e.Hint, e.Code
	case *instance.Error:
		hint = e.Hint
		if !e.Missing {
			code = run.ExitUsage
		}
	default:
		if badInput(err) {
			code = run.ExitUsage
		}
	}
	if code == 0 {
		code = exitFailure
	}
	// One line each, whatever the cause's text is made of.
	cause := strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
	fmt.Fprintf(a.stderr, "%s: %s %s\n", a.name, a.paint("error:"), cause)
	if hint != "" {
		fmt.Fprintf(a.stderr, "%s: hint: %s\n", a.name, hint)
	}
	return code
}

// badInput reports whether err is about what the user gave.
func badInput(err error) bool {
	if _, ok := errors.AsType[*bake.InputError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*image.FormatError](err); ok {
		return true
	}
	_, ok := errors.AsType[*os.PathError](err)
	return ok
}

// hasColor reports whether the user sees colours in messages and wants them.
func (a *app) hasColor() bool {
	f, ok := a.stderr.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && a.getenv("NO_COLOR") == "" && a.getenv("TERM") != "dumb"
}

// paint returns s in red, where colours are seen.
func (a *app) paint(s string) string {
	if !a.hasColor() {
		return s
	}
	return "\x1b[31m" + s + "\x1b[0m"
}

// getenv returns the value of an environment variable, "" if it is not set.
func (a *app) getenv(name string) string {
	for _, e := range a.env {
		if k, v, _ := strings.Cut(e, "="); k == name {
			return v
		}
	}
	return ""
}
