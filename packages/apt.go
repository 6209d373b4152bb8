package packages

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// An apt is a configuration of apt-get that leaves the machine's alone: the
// same archives, but their sources too, with lists and downloads in a folder
// of ours (apt.conf(5), sources.list(5)).
type apt struct {
	dir string
	// old leaves out the archives of updates: mirrors now and then list
	// files of those that they do not have.
	old bool
}

// listAge is how old lists may be before they are fetched anew.
const listAge = 24 * time.Hour

// prepare makes the configuration and fetches the lists if they are old.
func (a apt) prepare(log io.Writer, say func(string, ...any)) error {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return &Error{"apt-get: not found in PATH", "packages are fetched by it, on Debian and Ubuntu"}
	}
	for _, d := range []string{"sources", "sources-old", "lists/partial", "cache/archives/partial", "empty"} {
		if err := os.MkdirAll(filepath.Join(a.dir, d), 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(a.dir, "status"), nil, 0o644); err != nil {
		return err
	}
	changed, err := a.writeSources("/etc/apt")
	if err != nil {
		return err
	}
	stamp := filepath.Join(a.dir, "updated")
	if st, err := os.Stat(stamp); err == nil && time.Since(st.ModTime()) < listAge && !changed {
		return nil
	}
	say("fetching the lists of packages and sources")
	if err := a.run(log, "", "update", "--error-on=any"); err != nil {
		return fmt.Errorf("fetching the lists of packages and sources: %w", err)
	}
	return os.WriteFile(stamp, nil, 0o644)
}

// ours matches the addresses of the distributions' archives and their mirrors.
var ours = regexp.MustCompile(`(?m)(debian|ubuntu)(-security|-ports)?/?(\s|$)`)

// writeSources writes the machine's lists of archives, those of the
// distribution only, so that they name sources too. It reports whether they
// are others than before.
func (a apt) writeSources(etc string) (changed bool, err error) {
	var files []string
	for _, pattern := range []string{"sources.list", "sources.list.d/*.list", "sources.list.d/*.sources"} {
		found, err := filepath.Glob(filepath.Join(etc, pattern))
		if err != nil {
			return false, err
		}
		files = append(files, found...)
	}
	written := 0
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			return false, err
		}
		var out string
		add := listWithSources
		if strings.HasSuffix(f, ".sources") {
			add = sourcesWithSources
		}
		if out = add(string(text)); out == "" {
			continue
		}
		written++
		if err := os.WriteFile(filepath.Join(a.dir, "sources-old", filepath.Base(f)), []byte(withoutUpdates(out)), 0o644); err != nil {
			return false, err
		}
		name := filepath.Join(a.dir, "sources", filepath.Base(f))
		if old, err := os.ReadFile(name); err == nil && string(old) == out {
			continue
		}
		changed = true
		if err := os.WriteFile(name, []byte(out), 0o644); err != nil {
			return false, err
		}
	}
	if written == 0 {
		return false, &Error{"apt has no archive of Debian or Ubuntu in " + etc, "see sources.list(5)"}
	}
	return changed, nil
}

// listWithSources returns a list in the one-line format with a deb-src line
// beside each deb line.
func listWithSources(text string) string {
	var out strings.Builder
	for s := bufio.NewScanner(strings.NewReader(text)); s.Scan(); {
		line := strings.TrimSpace(s.Text())
		if rest, ok := strings.CutPrefix(line, "deb "); ok && ours.MatchString(rest) {
			fmt.Fprintf(&out, "deb %s\ndeb-src %s\n", rest, rest)
		}
	}
	return out.String()
}

// typesLine matches the field of the deb822 format that says what an archive
// is used for.
var typesLine = regexp.MustCompile(`(?mi)^types:.*$`)

// sourcesWithSources does the same for the deb822 format.
func sourcesWithSources(text string) string {
	var out []string
	for _, stanza := range regexp.MustCompile(`\n[ \t]*\n`).Split(text, -1) {
		uris := regexp.MustCompile(`(?mi)^uris:(.*)$`).FindStringSubmatch(stanza)
		if uris == nil || !ours.MatchString(uris[1]) || regexp.MustCompile(`(?mi)^enabled:\s*no`).MatchString(stanza) {
			continue
		}
		out = append(out, strings.TrimSpace(typesLine.ReplaceAllString(stanza, "Types: deb deb-src"))+"\n")
	}
	return strings.Join(out, "\n")
}

// updates matches the suites of updates: bookworm-security, noble-updates.
var updates = regexp.MustCompile(`\S+-(security|updates|proposed|backports)(/\S*)?`)

// withoutUpdates returns sources of either format without suites of updates.
func withoutUpdates(text string) string {
	var out []string
	for line := range strings.Lines(text) {
		field, _, deb822 := strings.Cut(line, ":")
		suites := deb822 && strings.EqualFold(field, "suites")
		switch {
		case suites:
			line = updates.ReplaceAllString(line, "")
		case strings.HasPrefix(line, "deb") && updates.MatchString(line):
			continue
		}
		out = append(out, line)
	}
	// A stanza whose suites are all gone goes, too.
	var stanzas []string
	for _, s := range strings.Split(strings.Join(out, ""), "\n\n") {
		if !regexp.MustCompile(`(?mi)^suites:\s*$`).MatchString(s) {
			stanzas = append(stanzas, s)
		}
	}
	return strings.Join(stanzas, "\n\n")
}

// options are the options of apt-get that make it use the folder.
func (a apt) options() []string {
	sources := "sources"
	if a.old {
		sources = "sources-old"
	}
	set := map[string]string{
		"Dir::Etc::sourcelist": "/dev/null", "Dir::Etc::sourceparts": filepath.Join(a.dir, sources),
		"Dir::State::lists": filepath.Join(a.dir, "lists"), "Dir::Cache": filepath.Join(a.dir, "cache"),
		// The account that apt would change to cannot reach a user's files.
		"APT::Sandbox::User": "root",
	}
	args := []string{"-q"}
	for k, v := range set {
		args = append(args, "-o", k+"="+v)
	}
	return args
}

// run runs apt-get in a directory, "" for the current one.
func (a apt) run(log io.Writer, dir string, args ...string) error {
	cmd := exec.Command("apt-get", append(a.options(), args...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	fmt.Fprintf(log, "+ apt-get %s\n", strings.Join(args, " "))
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("apt-get %s: %w", args[0], err)
	}
	return nil
}

// source fetches and unpacks the first of the source packages that there is,
// with the distribution's patches, to dir/source.
func (a apt) source(log io.Writer, dir string, names []string) error {
	name := ""
	for _, n := range names {
		if err := a.run(log, dir, "source", "--print-uris", n); err == nil {
			name = n
			break
		}
	}
	if name == "" {
		return errorf("the distribution has no source package %s", strings.Join(names, " or "))
	}
	if err := a.run(log, dir, "source", name); err != nil {
		a.old = true
		fmt.Fprintln(log, "again, without the archives of updates")
		if a.run(log, dir, "source", name) != nil {
			return err
		}
	}
	unpacked, err := filepath.Glob(filepath.Join(dir, "*", "debian", "changelog"))
	if err != nil || len(unpacked) != 1 {
		return fmt.Errorf("source package %s gave %d folders, want 1", name, len(unpacked))
	}
	return os.Rename(filepath.Dir(filepath.Dir(unpacked[0])), filepath.Join(dir, "source"))
}

// uriLine matches a line of apt-get --print-uris: the address, the file's
// name, its size.
var uriLine = regexp.MustCompile(`(?m)^'[^']+' (\S+\.deb) \d+`)

// debs fetches binary packages with all that they depend on, as for an empty
// machine, and returns the files.
func (a apt) debs(log io.Writer, names []string) ([]string, error) {
	files, err := a.fetchDebs(log, names)
	if err != nil && !a.old {
		fmt.Fprintln(log, "again, without the archives of updates")
		a.old = true
		if again, err := a.fetchDebs(log, names); err == nil {
			return again, nil
		}
	}
	return files, err
}

// fetchDebs is debs, with the archives as they are set.
func (a apt) fetchDebs(log io.Writer, names []string) ([]string, error) {
	args := append([]string{
		"-o", "Dir::State::status=" + filepath.Join(a.dir, "status"), "-o", "Dir::State::extended_states=" + filepath.Join(a.dir, "empty", "states"),
		"-o", "Debug::NoLocking=1", "-y", "--no-install-recommends", "--reinstall", "install",
	}, names...)
	cmd := exec.Command("apt-get", append(append(a.options(), "--print-uris"), args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Stderr = log
	// Files that are there already are not printed: begin with none.
	archives := filepath.Join(a.dir, "cache/archives")
	kept := filepath.Join(a.dir, "cache/kept")
	if err := errors.Join(os.MkdirAll(kept, 0o755), os.RemoveAll(archives), os.MkdirAll(filepath.Join(archives, "partial"), 0o755)); err != nil {
		return nil, err
	}
	out, err := cmd.Output()
	if err != nil {
		return nil, errorf("the distribution does not have all of the packages %s with what they depend on", strings.Join(names, " "))
	}
	var files []string
	lacking := false
	for _, m := range uriLine.FindAllStringSubmatch(string(out), -1) {
		f := filepath.Join(kept, m[1])
		files = append(files, f)
		if _, err := os.Stat(f); err != nil {
			lacking = true
		} else if err := os.Link(f, filepath.Join(archives, m[1])); err != nil {
			return nil, err
		}
	}
	if !lacking {
		return files, nil
	}
	if err := a.run(log, "", append([]string{"--download-only"}, args...)...); err != nil {
		return nil, err
	}
	for _, f := range files {
		if _, err := os.Stat(f); err == nil {
			continue
		}
		if err := os.Rename(filepath.Join(archives, filepath.Base(f)), f); err != nil {
			return nil, err
		}
	}
	return files, nil
}
