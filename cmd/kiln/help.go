package main

import (
	"fmt"
	"io"
	"strings"
)

// overview is the text of kiln help.
func (a *app) overview() string {
	var b strings.Builder
	b.WriteString("kiln turns Linux programs into unikernels.\n\nUsage: kiln COMMAND …\n\n")
	for _, c := range a.all {
		fmt.Fprintf(&b, "  %-14s%s\n", c.name, c.short)
	}
	b.WriteString("  help          what a command does, and its flags\n")
	b.WriteString("\nA first unikernel:\n\n  kiln cc -o hello hello.c\n  kiln bake -o hello.img hello\n  kiln run hello.img\n")
	return b.String()
}

// help prints the help for a command, or the overview.
func (a *app) help(args []string) (int, error) {
	if len(args) == 0 {
		_, err := io.WriteString(a.stdout, a.overview())
		return 0, err
	}
	c, ok := a.find(args[0])
	if !ok {
		return 0, usageError{fmt.Sprintf("there is no command %q", args[0]), "kiln help lists the commands"}
	}
	text := fmt.Sprintf("Usage: kiln %s %s\n\n%s\n", c.name, c.usage, strings.TrimSpace(c.long))
	if c.flags != nil {
		fs, _ := c.flagSet()
		if usages := fs.FlagUsages(); usages != "" {
			text += "\nFlags:\n" + usages
		}
	}
	_, err := io.WriteString(a.stdout, text)
	return 0, err
}
