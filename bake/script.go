package bake

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path"
	"strings"
)

// maxScriptLine is how much of a script's first line Linux reads
// (include/uapi/linux/binfmts.h, BINPRM_BUF_SIZE).
const maxScriptLine = 256

// programPath is where env(1) looks for interpreters in the guest.
var programPath = []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// parseScript returns the words of a script's first line: the interpreter,
// and its argument if there is one. ok is false if line begins no script.
func parseScript(line string) (interp, arg string, ok bool) {
	rest, ok := strings.CutPrefix(line, "#!")
	if !ok {
		return "", "", false
	}
	rest = strings.Trim(rest, " \t\r\n")
	i := strings.IndexAny(rest, " \t")
	if i < 0 {
		return rest, "", rest != ""
	}
	return rest[:i], strings.TrimLeft(rest[i:], " \t"), true
}

// firstLine reads the first line of a file, or as much of it as counts.
func firstLine(host string) (string, error) {
	f, err := os.Open(host)
	if err != nil {
		return "", ioError(err)
	}
	defer f.Close()
	line, err := bufio.NewReader(io.LimitReader(f, maxScriptLine)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", ioError(err)
	}
	return line, nil
}

// addInterpreter adds the interpreter of a script. Files that are neither
// scripts nor meant to be executed need none.
func (b *baker) addInterpreter(o object) error {
	if o.from != fromProgram && o.mode&0o111 == 0 {
		return nil
	}
	line, err := firstLine(o.host)
	if err != nil {
		return err
	}
	interp, arg, ok := parseScript(line)
	if !ok {
		if o.from == fromProgram {
			return inputErrorf(o.host, "not a program: neither an ELF file nor a script")
		}
		return nil
	}
	if b.ofPackage(o.guest) && o.from != fromProgram && !isShell(interp) {
		return nil // what the package runs, it depends on
	}
	needs := []string{interp}
	if path.Base(interp) == "env" {
		// env [-S] NAME …
		words := strings.Fields(strings.TrimPrefix(arg, "-S"))
		if len(words) > 0 && !strings.HasPrefix(words[0], "-") && !strings.Contains(words[0], "=") {
			needs = append(needs, b.lookPath(words[0]))
		}
	}
	for _, p := range needs {
		if err := b.addNeededProgram(o, p); err != nil {
			return err
		}
	}
	if o.from != fromProgram {
		return nil
	}
	if !b.ofPackage(o.guest) {
		if err := b.addRuntime(o.host); err != nil {
			return err
		}
	}
	if isShell(needs[len(needs)-1]) {
		return b.addCommands(o)
	}
	return nil
}

// lookPath returns where name is in programPath, in the image or on the host,
// or name itself.
func (b *baker) lookPath(name string) string {
	if strings.Contains(name, "/") {
		return name
	}
	for _, d := range programPath {
		if b.root.hostFile(path.Join(d, name)) != "" {
			return path.Join(d, name)
		}
	}
	for _, d := range programPath {
		if st, err := os.Stat(path.Join(d, name)); err == nil && st.Mode().IsRegular() {
			return path.Join(d, name)
		}
	}
	return name
}

// addNeededProgram adds the interpreter p of script o.
func (b *baker) addNeededProgram(o object, p string) error {
	if b.root.lookup(p) != nil {
		return nil
	}
	if _, err := os.Stat(p); err != nil || !path.IsAbs(p) {
		if o.tree {
			b.progress("warning: %s needs %s, which is not on this machine", o.host, p)
			return nil
		}
		return inputErrorf(o.host, "needs the interpreter %s, which is not on this machine", p)
	}
	_, err := b.addHost(p, reason{from: fromLibrary, tree: false})
	return err
}
