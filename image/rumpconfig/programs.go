package rumpconfig

import (
	"encoding/json"
	"path"
	"slices"
	"strings"

	"kiln/image"
)

// cmdline reads a command line for the image's first program: its name, then
// its arguments.
func (p *parser) cmdline(value json.RawMessage) error {
	var text string
	if err := decode("cmdline", value, &text); err != nil {
		return err
	}
	words, ok := split(text)
	if !ok {
		return errorf("cmdline", "a quotation mark has no partner: %s", text)
	}
	if len(words) == 0 {
		return nil
	}
	p.Programs = append(p.Programs, Program{Args: words})
	return nil
}

// split splits a command line into words at blanks. Quotation marks keep words
// together, a backslash takes what follows it as it is.
func split(text string) (words []string, ok bool) {
	var word strings.Builder
	var quote rune // the open quotation mark, or 0
	escaped, inWord := false, false
	for _, c := range text {
		switch {
		case escaped:
			word.WriteRune(c)
			escaped = false
		case c == '\\' && quote != '\'':
			escaped, inWord = true, true
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '"' || c == '\'':
			quote, inWord = c, true
		case strings.ContainsRune(" \t\r\n", c):
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		default:
			word.WriteRune(c)
			inWord = true
		}
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, quote == 0 && !escaped
}

// rc reads the list of programs to run.
func (p *parser) rc(value json.RawMessage) error {
	var list []struct {
		Bin     *string  `json:"bin"`
		Argv    []string `json:"argv"`
		Args    []string `json:"args"`
		RunMode string   `json:"runmode"`
	}
	if err := decode("rc", value, &list); err != nil {
		return err
	}
	for i, e := range list {
		switch {
		case e.Bin == nil || *e.Bin == "":
			return errorf("rc", "entry %d has no bin", i+1)
		case e.Argv != nil && e.Args != nil:
			return errorf("rc", "%s has both argv and args", *e.Bin)
		case !slices.Contains([]string{image.ModeForeground, image.ModeBackground, image.ModePipe}, e.RunMode):
			return errorf("rc", "%s: runmode %q is neither & nor | nor empty", *e.Bin, e.RunMode)
		case e.RunMode == image.ModePipe && i == len(list)-1:
			return errorf("rc", "%s: runmode | needs a program behind it", *e.Bin)
		}
		args := append([]string{*e.Bin}, append(e.Argv, e.Args...)...)
		if strings.Contains(strings.Join(args, ""), "\x00") {
			return errorf("rc", "entry %d: an argument contains a NUL byte", i+1)
		}
		p.Programs = append(p.Programs, Program{Bin: *e.Bin, Args: args, Mode: e.RunMode})
	}
	return nil
}

// Commands returns what the configuration runs of an image.
//
// As in Rumprun the n-th entry of rc is for the n-th program that was baked,
// and its name only what the program sees as argv[0]; here a name that is one
// of the programs' means that program. None at all runs the first program.
func (c *Config) Commands(m *image.Manifest) ([]image.Command, error) {
	programs := m.Programs
	if len(programs) == 0 {
		programs = []string{m.Program}
	}
	var commands []image.Command
	for i, p := range c.Programs {
		at := slices.IndexFunc(programs, func(path string) bool { return p.Bin != "" && isName(p.Bin, path) })
		switch {
		case at >= 0:
		case p.Bin == "":
			at = 0
		case i < len(programs):
			at = i
		default:
			return nil, errorf("rc", "entry %d, %s, is none of the image's programs: %s", i+1, p.Bin, strings.Join(programs, ", "))
		}
		commands = append(commands, image.Command{Program: programs[at], Args: p.Args, Mode: p.Mode})
	}
	return commands, nil
}

// isName reports whether bin names the program at path: by its path or its
// last element.
func isName(bin, file string) bool {
	return bin == file || !strings.Contains(bin, "/") && bin == path.Base(file)
}
