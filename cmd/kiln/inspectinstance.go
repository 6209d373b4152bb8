package main

import (
	"errors"
	"io/fs"
	"os"

	"kiln/instance"
)

// namedInstances returns the instances that args name, nil if the first of args
// is a file or names none.
func (a *app) namedInstances(args []string) ([]*instance.Instance, error) {
	if len(args) == 0 {
		return nil, nil
	}
	if _, err := os.Stat(args[0]); !errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var all []*instance.Instance
	for n, name := range args {
		i, err := a.findInstance(name)
		if err != nil && n == 0 {
			return nil, nil // the inspection of an image says what is wrong
		}
		if err != nil {
			return nil, err
		}
		all = append(all, i)
	}
	return all, nil
}
