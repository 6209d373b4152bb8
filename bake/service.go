package bake

import (
	"bytes"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// What a service finds on a Debian system beside its files is made before it
// starts: folders in /run that systemd makes for it (systemd.exec(5),
// RuntimeDirectory=), or systemd-tmpfiles (tmpfiles.d(5)), and its user, whom
// the package's installation makes. services are these descriptions.
type services struct {
	units    []unit
	folders  []folder
	accounts *accounts
}

// A unit is a service as far as bake looks at it.
type unit struct {
	name    string // without ".service"
	start   string // the lines of ExecStart=
	user    string
	folders []folder
}

// A folder is a directory to make before a service starts.
type folder struct {
	conf        string // base name of the description it comes from, without its suffix
	path        string
	mode        fs.FileMode
	user, group string // names or numbers; "" for root
}

// serviceDirs are where packages describe services, and what is to be made.
var (
	unitDirs     = []string{"/usr/lib/systemd/system", "/lib/systemd/system"}
	tmpfilesDirs = []string{"/usr/lib/tmpfiles.d"}
)

// readServices reads the descriptions in folders of the host.
func readServices(unitDirs, tmpfilesDirs []string, a *accounts) *services {
	s := &services{accounts: a}
	eachText(unitDirs, ".service", func(name, text string) { s.units = append(s.units, parseUnit(name, text)) })
	eachText(tmpfilesDirs, ".conf", func(name, text string) { s.folders = append(s.folders, parseTmpfiles(name, text)...) })
	return s
}

// eachText calls f for each file in dirs whose name has the suffix, once for
// each name. What cannot be read is not there.
func eachText(dirs []string, suffix string, f func(name, text string)) {
	seen := map[string]bool{}
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
		if err != nil {
			continue
		}
		for _, file := range files {
			name := strings.TrimSuffix(filepath.Base(file), suffix)
			text, err := os.ReadFile(file)
			if err != nil || seen[name] {
				continue
			}
			seen[name] = true
			f(name, string(text))
		}
	}
}

// parseUnit reads a unit file (systemd.syntax(7)).
func parseUnit(name, text string) unit {
	u := unit{name: name}
	group := ""
	var dirs []folder
	modes := map[string]string{}
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || strings.HasPrefix(key, "#") || strings.HasPrefix(key, ";") {
			continue
		}
		kind, isMode := strings.CutSuffix(key, "DirectoryMode")
		top, isDir := serviceTops[strings.TrimSuffix(key, "Directory")]
		switch {
		case key == "ExecStart":
			u.start += value + "\n"
		case key == "User":
			u.user = value
		case key == "Group":
			group = value
		case isMode && serviceTops[kind] != "":
			modes[serviceTops[kind]] = value
		case isDir && strings.HasSuffix(key, "Directory"):
			for _, d := range strings.Fields(value) {
				d, _, _ = strings.Cut(d, ":") // a link's name
				dirs = append(dirs, folder{conf: name, path: path.Join(top, path.Clean("/"+d)), mode: 0o755})
			}
		}
	}
	for _, d := range dirs {
		d.user, d.group = u.user, group
		for top, mode := range modes {
			if m, err := strconv.ParseUint(mode, 8, 32); err == nil && under(d.path, top) {
				d.mode = fileMode(m)
			}
		}
		if usable(d) {
			u.folders = append(u.folders, d)
		}
	}
	return u
}

// serviceTops are where systemd makes a service's folders (systemd.exec(5)).
var serviceTops = map[string]string{
	"Runtime": "/run", "State": "/var/lib", "Cache": "/var/cache", "Logs": "/var/log",
}

// parseTmpfiles returns the folders that a file of tmpfiles.d(5) makes.
func parseTmpfiles(name, text string) (out []folder) {
	for line := range strings.Lines(text) {
		// TYPE PATH MODE USER GROUP AGE ARGUMENT
		f := strings.Fields(line)
		if len(f) < 2 || !strings.Contains("dDvqQ", f[0][:1]) {
			continue
		}
		d := folder{conf: name, path: path.Clean(f[1]), mode: 0o755}
		field := func(i int) string {
			if len(f) <= i || f[i] == "-" {
				return ""
			}
			return strings.TrimLeft(f[i], ":~")
		}
		if m, err := strconv.ParseUint(field(2), 8, 32); err == nil {
			d.mode = fileMode(m)
		}
		d.user, d.group = field(3), field(4)
		if usable(d) {
			out = append(out, d)
		}
	}
	return out
}

// parseTmpLinks returns the symbolic links that a file of tmpfiles.d(5) makes in
// places for what is made while a system runs: their paths and targets.
func parseTmpLinks(text string) (out [][2]string) {
	for line := range strings.Lines(text) {
		// L PATH - - - - TARGET
		f := strings.Fields(line)
		if len(f) < 7 || f[0][0] != 'L' || strings.Contains(line, "%") {
			continue
		}
		if p := path.Clean(f[1]); usable(folder{path: p}) {
			out = append(out, [2]string{runPath(p), f[6]})
		}
	}
	return out
}

// fileMode returns the mode that a number in a description means.
func fileMode(m uint64) fs.FileMode {
	mode := fs.FileMode(m & 0o777)
	if m&0o1000 != 0 {
		mode |= fs.ModeSticky
	}
	if m&0o2000 != 0 {
		mode |= fs.ModeSetgid
	}
	return mode
}

// usable reports whether a folder is one that an image can have: its path says
// where it is, in a place for what is made while a system runs.
func usable(d folder) bool {
	d.path = runPath(d.path)
	return !strings.Contains(d.path, "%") &&
		slices.ContainsFunc([]string{"/run/", "/var/lib/", "/var/log/", "/var/cache/", "/var/spool/"}, func(top string) bool {
			return strings.HasPrefix(d.path, top)
		})
}

// runPath returns p by today's name of /var/run.
func runPath(p string) string {
	if rest, ok := strings.CutPrefix(p, "/var/run/"); ok {
		return "/run/" + rest
	}
	return p
}

// of returns the folders that the program at program wants, whose content is
// given, and its user, "" if none is described: those of the service that
// starts it, and those that the program itself names.
func (s *services) of(program string, content []byte) (folders []folder, user string) {
	confs := map[string]bool{}
	for _, u := range s.units {
		if !slices.ContainsFunc(strings.FieldsFunc(u.start, notPath), func(w string) bool { return w == program }) {
			continue
		}
		confs[u.name] = true
		folders = append(folders, u.folders...)
		if user == "" {
			user = u.user
		}
	}
	for _, d := range s.folders {
		run := runPath(d.path)
		if confs[d.conf] || bytes.Contains(content, []byte(run)) || bytes.Contains(content, []byte("/var"+run)) {
			folders = append(folders, d)
		}
	}
	return folders, user
}

// notPath reports whether r ends a path in a command line.
func notPath(r rune) bool { return strings.ContainsRune(" \t\n\"'`;&|()@!+:=", r) }

// addService makes what the program o finds when it is started as a service of
// this machine.
func (b *baker) addService(o object, l *linkage, content []byte) error {
	s := readServices(unitDirs, tmpfilesDirs, hostAccounts())
	b.addUnits(s)
	folders, user := s.of(o.guest, content)
	if user != "" {
		b.addAccount(s.accounts, user)
	}
	for _, d := range folders {
		if err := b.addServiceFolder(s.accounts, d); err != nil {
			return err
		}
	}
	if !l.calls["getpwnam"] && !l.calls["getpwnam_r"] {
		return nil
	}
	for _, name := range s.accounts.system() {
		if bytes.Contains(content, []byte("\x00"+name+"\x00")) {
			b.addAccount(s.accounts, name)
		}
	}
	return nil
}

// addUnits adds to s the services that packages of the image describe.
func (b *baker) addUnits(s *services) {
	for _, p := range b.root.paths() {
		e := b.root.entries[p]
		if e.from != fromPackage || e.host == "" || !slices.Contains(unitDirs, path.Dir(p)) || !strings.HasSuffix(p, ".service") {
			continue
		}
		if text, err := os.ReadFile(e.host); err == nil {
			s.units = append(s.units, parseUnit(strings.TrimSuffix(path.Base(p), ".service"), string(text)))
		}
	}
}

// addServiceFolder makes a folder, unless there is something of its name.
func (b *baker) addServiceFolder(a *accounts, d folder) error {
	if b.root.lookup(d.path) != nil {
		return nil
	}
	if err := b.root.mkdir(d.path, d.mode, fromRuntime); err != nil {
		return err
	}
	e := b.root.lookup(d.path)
	if d.user != "" {
		b.addAccount(a, d.user)
	}
	if d.group != "" {
		b.addGroup(a, d.group)
	}
	in := b.imageAccounts()
	if uid, ok := in.uid(d.user); ok {
		e.uid = uid
		if d.group == "" {
			e.gid = in.groupOf(d.user)
		}
	}
	if gid, ok := in.gid(d.group); ok {
		e.gid = gid
	}
	return nil
}
