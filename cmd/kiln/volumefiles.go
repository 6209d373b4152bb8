package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"kiln/run/volume"
	"kiln/run/volume/files"
)

// openVolume opens the image that arg, NAME:/PATH, is about, and returns the
// path in it. A NAME with a slash is the file of an image.
func (a *app) openVolume(s volume.Store, arg string) (*files.Image, string, error) {
	hint := "write NAME:/PATH, for instance data:/"
	name, path, found := strings.Cut(arg, ":")
	if strings.Contains(name, "/") {
		// The file's own name may have a colon.
		if i := strings.Index(arg, ":/"); i >= 0 {
			name, path = arg[:i], arg[i+1:]
		}
	}
	if !found {
		return nil, "", usageError{fmt.Sprintf("%s names no path in a volume", arg), hint}
	}
	if !strings.HasPrefix(path, "/") {
		return nil, "", usageError{fmt.Sprintf("%s: a path in a volume begins with a slash", arg), hint}
	}
	file := name
	if !strings.Contains(name, "/") {
		var err error
		if file, err = s.Find(name); err != nil {
			e, ok := errors.AsType[*volume.Error](err)
			if _, statErr := os.Stat(name); ok && statErr == nil {
				e.Hint = "if the file is meant: ./" + name + ":" + path
			} else if ok {
				e.Hint = "kiln volume ls lists those there are"
			}
			return nil, "", err
		}
	}
	m, err := files.Open(file, name, func(line string) { fmt.Fprintf(a.stderr, "%s: %s: %s\n", a.name, name, line) })
	return m, path, err
}

func (v *volumeFlags) listFiles(a *app, s volume.Store, arg string) error {
	m, path, err := a.openVolume(s, arg)
	if err != nil {
		return err
	}
	entries, err := m.List(path)
	err = errors.Join(err, m.Close())
	if err != nil && entries == nil {
		return err
	}
	if v.json {
		if entries == nil {
			entries = []files.Entry{}
		}
		return errors.Join(printJSON(a.stdout, entries), err)
	}
	return errors.Join(printEntries(a.stdout, entries), err)
}

// printEntries prints a directory for people, as ls -l does.
func printEntries(out io.Writer, entries []files.Entry) error {
	var width [4]int
	numbers := func(e files.Entry) [4]string {
		return [4]string{fmt.Sprint(e.Links), fmt.Sprint(e.UID), fmt.Sprint(e.GID), fmt.Sprint(e.Size)}
	}
	for _, e := range entries {
		for i, n := range numbers(e) {
			width[i] = max(width[i], len(n))
		}
	}
	for _, e := range entries {
		n := numbers(e)
		line := fmt.Sprintf("%s %*s %*s %*s %*s %s %s", e.Mode, width[0], n[0], width[1], n[1], width[2], n[2], width[3], n[3],
			e.Modified.Local().Format("2006-01-02 15:04"), files.Text(e.Name))
		if e.Target != "" {
			line += " -> " + files.Text(e.Target)
		}
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	return nil
}

func (v *volumeFlags) cat(a *app, s volume.Store, args []string) error {
	if len(args) == 0 {
		return usageError{"no file is named", "kiln volume cat NAME:/PATH…"}
	}
	for _, arg := range args {
		m, path, err := a.openVolume(s, arg)
		if err != nil {
			return err
		}
		if err := errors.Join(m.Cat(path, a.stdout), m.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (v *volumeFlags) copy(a *app, s volume.Store, args []string) error {
	if len(args) != 2 {
		return usageError{fmt.Sprintf("%d arguments are given, want 2", len(args)), "kiln volume cp NAME:/PATH TO"}
	}
	if strings.Contains(args[1], ":/") && !strings.Contains(args[0], ":/") {
		return usageError{"files are copied out of volumes, not into them", "kiln run -v NAME:/data IMAGE gives a program the volume to write to"}
	}
	m, path, err := a.openVolume(s, args[0])
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err = m.Copy(ctx, path, filepath.Clean(args[1]))
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted; nothing was copied")
	}
	return errors.Join(err, m.Close())
}
