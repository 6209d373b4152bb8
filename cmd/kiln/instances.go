package main

import (
	"fmt"

	"kiln/instance"
)

// findInstance returns the instance that goes by name.
func (a *app) findInstance(name string) (*instance.Instance, error) {
	store, err := instance.Open(a.getenv)
	if err != nil {
		return nil, err
	}
	return store.Find(name)
}

// each does do with the instances that args name, and prints the names of those
// with which it went well. The others are complained about, and do not hold up
// the rest.
func (a *app) each(args []string, do func(*instance.Instance) error) (int, error) {
	return a.eachNamed(args, func(name string) error {
		i, err := a.findInstance(name)
		if err != nil {
			return err
		}
		return do(i)
	})
}

// eachNamed is each for who finds the instance himself.
func (a *app) eachNamed(args []string, do func(name string) error) (int, error) {
	if len(args) == 0 {
		return 0, usageError{"no instance is named", "kiln ps -a lists them"}
	}
	code := 0
	for _, name := range args {
		err := do(name)
		if err == nil {
			_, err = fmt.Fprintln(a.stdout, name)
		}
		if err != nil {
			code = a.complain(err, exitFailure)
		}
	}
	return code, nil
}

// oneInstance returns the only instance that args name.
func (a *app) oneInstance(args []string) (*instance.Instance, error) {
	if len(args) != 1 {
		return nil, usageError{fmt.Sprintf("%d instances are named, want 1", len(args)), "kiln ps -a lists them"}
	}
	return a.findInstance(args[0])
}
