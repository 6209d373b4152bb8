// Package packages builds known software for Kiln and checks that it works:
// the recipes, which are folders beside this file, and what carries them out.
//
//	recipe ─fetch→ source ─script, by the tool chain of package cc→ root ─bake→ image
//
// A recipe names where the source is (a Debian source package, a Go module, or
// Debian's binaries), how it is built, what the image runs, and how to find
// out from outside whether it does. docs/packages.md describes its format.
package packages

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

//go:embed */*
var embedded embed.FS

// talk is a Python program for checks: talk.py PORT sends its standard input
// to the guest and prints the answer.
//
//go:embed talk.py
var talk []byte

// Error is what the user can do something about: a recipe that is wrong, a
// package that is missing. Its text is one line.
type Error struct {
	Msg  string
	Hint string // what to do, or ""
}

// Error implements error.
func (e *Error) Error() string { return e.Msg }

func errorf(format string, args ...any) *Error { return &Error{Msg: fmt.Sprintf(format, args...)} }

// recipeFile is what a recipe's folder must have.
const recipeFile = "recipe.toml"

// Names returns the names of the recipes that come with Kiln, in order.
func Names() []string {
	files, err := fs.Glob(embedded, "*/"+recipeFile) // sorted
	if err != nil {
		panic(err) // the pattern is sound
	}
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(f, "/"+recipeFile))
	}
	return names
}

// Load returns a recipe: one of Names, or that of a folder if the name has a
// slash.
func Load(name string) (*Recipe, error) {
	var files fs.FS
	if strings.Contains(name, "/") {
		files = os.DirFS(name)
		abs, err := filepath.Abs(name)
		if err != nil {
			return nil, err
		}
		name = filepath.Base(abs)
	} else {
		var err error
		if files, err = fs.Sub(embedded, name); err != nil {
			return nil, errorf("there is no package %q", name)
		}
	}
	text, err := fs.ReadFile(files, recipeFile)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
		return nil, &Error{fmt.Sprintf("there is no package %q", name), "kiln package ls lists them; a folder with a " + recipeFile + " is named with a slash, like ./mine"}
	} else if err != nil {
		return nil, err
	}
	r, err := parse(name, string(text))
	if err != nil {
		return nil, err
	}
	r.files = files
	return r, nil
}
