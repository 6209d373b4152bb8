package deb

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// A planned package is one that apt-get would install.
type planned struct{ name, version string }

// aptPlan asks apt-get which packages it would install for those that are
// wanted, without what they only recommend. Nothing is changed.
func aptPlan(ctx context.Context, wanted []string) ([]planned, error) {
	args := append([]string{"--simulate", "--no-install-recommends", "-o", "Debug::NoLocking=true", "install", "--"}, wanted...)
	out, err := runTool(ctx, "", "apt-get", args...)
	if err != nil {
		return nil, err
	}
	return parsePlan(string(out)), nil
}

// planLine matches what apt-get --simulate prints of a package: with the
// version that is installed, if any, and the new one with where it is from.
var planLine = regexp.MustCompile(`^Inst (\S+)(?: \[[^\]]*\])? \((\S+) [^\[]*\[([a-z0-9-]+)\]`)

// parsePlan reads what apt-get --simulate prints.
func parsePlan(text string) (out []planned) {
	for line := range strings.Lines(text) {
		m := planLine.FindStringSubmatch(line)
		if m == nil || !packageName.MatchString(m[1]) || !slices.Contains(architectures, m[3]) || strings.HasPrefix(m[2], "-") {
			continue
		}
		out = append(out, planned{m[1], m[2]})
	}
	return out
}

// aptDownload has apt-get put the packages, NAME=VERSION each, into dir.
func aptDownload(ctx context.Context, dir string, specs []string) error {
	_, err := runTool(ctx, dir, "apt-get", append([]string{"-qq", "download", "--"}, specs...)...)
	return err
}

// runTool runs a program of Debian's in dir and returns what it prints. What it
// complains of is an *Error.
func runTool(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if errors.Is(err, exec.ErrNotFound) {
		return nil, errorf("%s is not on this machine, which is needed for packages that are not installed", name)
	}
	if err != nil {
		return nil, errorf("%s: %s", name, complaint(stdout.String(), stderr.String(), err))
	}
	return stdout.Bytes(), nil
}

// unmet matches what apt-get prints of a package that cannot be installed:
// "NAME : Depends: …".
var unmet = regexp.MustCompile(`(?m)^ \S+ : (?:Pre)?Depends: .*$`)

// complaint returns the errors among a tool's messages, as one line: what it
// cannot find is among the usual messages.
func complaint(usual, text string, err error) string {
	if lines := unmet.FindAllString(usual, 3); len(lines) > 0 {
		for i, line := range lines {
			lines[i] = strings.Join(strings.Fields(line), " ")
		}
		return strings.Join(lines, "; ")
	}
	var errs []string
	for line := range strings.Lines(text) {
		// "E: …" is apt's, "dpkg-deb: error: …" dpkg's.
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, "E: "); ok {
			errs = append(errs, rest)
		} else if _, rest, ok := strings.Cut(line, "error: "); ok {
			errs = append(errs, rest)
		}
	}
	if len(errs) == 0 {
		return err.Error()
	}
	return strings.Join(errs, "; ")
}
