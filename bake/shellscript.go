package bake

import (
	"bytes"
	"os"
	"path"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// isShell reports whether an interpreter is a shell whose scripts addCommands
// can read.
func isShell(interp string) bool {
	return slices.Contains([]string{"sh", "bash", "dash", "ash", "ksh", "mksh"}, path.Base(interp))
}

// addCommands adds the commands that a shell script runs, as far as they stand
// there by name: not those in variables, or in what it includes. What this
// machine has not is left out, for scripts ask whether there is a command.
func (b *baker) addCommands(o object) error {
	text, err := os.ReadFile(o.host)
	if err != nil {
		return ioError(err)
	}
	for _, name := range shellCommands(text) {
		p := b.lookPath(name)
		if st, err := os.Stat(p); !path.IsAbs(p) || err != nil || !st.Mode().IsRegular() || st.Mode()&0o111 == 0 {
			continue
		}
		if b.root.lookup(p) != nil {
			continue
		}
		if _, err := b.addHost(p, reason{from: fromLibrary, tree: true}); err != nil {
			return err
		}
	}
	return nil
}

// shellCommands returns the commands that a script names literally, sorted.
// Those that are functions of the script, or that a shell has built in, are not
// among them. A script that cannot be read has none: its shell will say so.
func shellCommands(text []byte) []string {
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(bytes.NewReader(text), "")
	if err != nil {
		return nil
	}
	own := map[string]bool{}
	var names []string
	syntax.Walk(file, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.FuncDecl:
			own[n.Name.Value] = true
		case *syntax.CallExpr:
			names = append(names, called(n.Args)...)
		}
		return true
	})
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(name string) bool {
		return own[name] || slices.Contains(shellBuiltins, name) || strings.HasPrefix(name, "-")
	})
}

// shellBuiltins are commands that every shell has built in
// (POSIX.1-2024, XCU 1.6, 2.15; dash(1)).
var shellBuiltins = []string{
	".", ":", "[", "alias", "bg", "break", "cd", "command", "continue", "echo", "eval", "exec", "exit", "export", "false", "fg",
	"getopts", "hash", "jobs", "kill", "local", "printf", "pwd", "read", "readonly", "return", "set", "shift", "test", "times",
	"trap", "true", "type", "ulimit", "umask", "unalias", "unset", "wait",
	"builtin", "declare", "let", "mapfile", "popd", "pushd", "shopt", "source", "typeset", // bash(1)
}

// runners are commands whose first argument that is no option is a command.
var runners = []string{"exec", "command", "nice", "nohup", "env", "exec", "setsid", "time", "xargs"}

// called returns the commands that a call with these words runs: the first
// word, and what comes behind it if that runs others.
func called(words []*syntax.Word) (names []string) {
	for _, w := range words {
		name := w.Lit()
		if strings.HasPrefix(name, "-") || strings.Contains(name, "=") {
			continue
		}
		if name == "" {
			break // made of variables
		}
		names = append(names, name)
		if !slices.Contains(runners, path.Base(name)) {
			break
		}
	}
	return names
}
