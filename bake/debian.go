package bake

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"kiln/bake/deb"
)

// A packages is the Debian packages of an image while they are added.
type packages struct {
	*baker
	set   *deb.Set
	setup deb.Setup  // what the installation of all of them makes
	named []deb.File // the files of the packages that are named
	// tmpfiles are the texts of tmpfiles.d(5) by the names of their files.
	tmpfiles map[string]string
}

// addDebs adds the packages of Options.Debs, and what they depend on: their
// files, users, folders and alternatives.
func (b *baker) addDebs() error {
	if len(b.options.Debs) == 0 {
		return nil
	}
	p, err := b.findDebs()
	if err != nil {
		return err
	}
	return p.addAll()
}

// addAll adds what the packages have, and names the program if the user has not.
func (p *packages) addAll() error {
	for _, d := range p.set.Packages {
		if err := p.add(d); err != nil {
			return err
		}
	}
	if err := p.addEssential(); err != nil {
		return err
	}
	if err := p.dateSources("", fromPackage); err != nil {
		return err
	}
	if err := p.addAlternatives(); err != nil {
		return err
	}
	if err := p.addUsers(); err != nil {
		return err
	}
	if err := p.addTmpfiles(); err != nil {
		return err
	}
	if err := p.applyChanges(); err != nil || p.options.Program != "" {
		return err
	}
	var err error
	p.options.Program, err = p.theProgram()
	return err
}

// findDebs finds the packages of Options.Debs and what they depend on.
func (b *baker) findDebs() (*packages, error) {
	dir, err := os.MkdirTemp("", "kiln-packages-")
	if err != nil {
		return nil, err
	}
	b.cleanUp = append(b.cleanUp, func() error { return os.RemoveAll(dir) })
	database, err := deb.OpenDatabase(deb.DefaultDatabase)
	if err != nil {
		return nil, packageError(err)
	}
	set, err := deb.Find(b.ctx, database, slices.Clone(b.options.Debs), dir, b.progress)
	if err != nil {
		return nil, packageError(err)
	}
	return &packages{baker: b, set: set, tmpfiles: map[string]string{}}, nil
}

// packageError returns what reading packages failed by.
func packageError(err error) error {
	if _, ok := errors.AsType[*deb.Error](err); ok {
		return &InputError{Name: "--deb", Msg: err.Error()}
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return &InputError{Name: "--deb", Msg: "cannot read the package", Err: err}
	}
	return err
}

// add adds a package's files, and notes what its installation makes.
func (p *packages) add(d *deb.Package) error {
	var missing []string
	files, err := p.set.Files(p.ctx, d, func(f string) { missing = append(missing, f) })
	if err != nil {
		return packageError(err)
	}
	if len(missing) > 0 {
		p.hint("package %s is installed without %s", d.Name, andMore(missing, 1))
	}
	if slices.Contains(p.set.Named, d) {
		p.named = append(p.named, files...)
	}
	for _, f := range files {
		if err := p.addFile(d, f); err != nil {
			return err
		}
	}
	return p.addSetup(d)
}

// addSetup notes what a package's installation makes. Where it was installed,
// that is done: then the folders that it has made are added.
func (p *packages) addSetup(d *deb.Package) error {
	var unread []string
	setup, err := p.set.Setup(p.ctx, d, func(command string) { unread = append(unread, command) })
	if err != nil {
		return packageError(err)
	}
	if len(unread) > 0 && !d.Installed() {
		slices.Sort(unread)
		p.hint("package %s: what its installation makes by %s is left out, for the arguments are not literal", d.Name, strings.Join(slices.Compact(unread), ", "))
	}
	p.setup.Users = append(p.setup.Users, setup.Users...)
	p.setup.Groups = append(p.setup.Groups, setup.Groups...)
	p.setup.Members = append(p.setup.Members, setup.Members...)
	if !d.Installed() {
		p.setup.Changes = append(p.setup.Changes, setup.Changes...)
		p.setup.Alternatives = append(p.setup.Alternatives, setup.Alternatives...)
		return nil
	}
	for _, c := range setup.Changes {
		f, err := deb.Installed(c.Path)
		if err != nil || !c.Makes || f.Mode&0o004 == 0 && !f.Mode.IsDir() || !under(path.Dir(c.Path), changeable...) || p.root.entries[c.Path] != nil {
			continue
		}
		if err := p.addFile(d, f); err != nil {
			return err
		}
	}
	return nil
}

// andMore names the first of some paths, at most so many, and says how many
// others there are.
func andMore(paths []string, most int) string {
	if len(paths) <= most {
		return strings.Join(paths, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(paths[:most], ", "), len(paths)-most)
}

// addFile adds one file of package d.
func (p *packages) addFile(d *deb.Package, f deb.File) error {
	if f.Path == "/" || under(f.Path, mountPoints...) {
		return nil
	}
	if f.Changed {
		if f.Mode&0o004 == 0 {
			p.hint("left out: %s, which this machine has changed and not everybody may read (--add %s)", f.Path, f.Path)
			return nil
		}
		p.hint("%s is taken as it is on this machine, not as package %s has it", f.Path, d.Name)
	}
	switch {
	case f.Mode.IsDir():
		if err := p.root.mkdir(f.Path, f.Mode, fromPackage); err != nil {
			return err
		}
		p.root.date(f.Path, f.Time, fromPackage)
	case f.Mode&fs.ModeSymlink != 0:
		if err := p.root.symlink(f.Path, f.Link, fromPackage); err != nil {
			return err
		}
		p.root.date(f.Path, f.Time, fromPackage)
		return nil
	case f.Mode&fs.ModeNamedPipe != 0:
		return p.root.pipe(f.Path, f.Mode, fromPackage)
	case f.Mode.IsRegular():
		if err := p.readDescription(f); err != nil {
			return err
		}
		mode := f.Mode & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid)
		if err := p.root.put(f.Path, &entry{mode: mode, host: f.Host, size: f.Size, mtime: f.Time.Unix(), from: fromPackage}); err != nil {
			return err
		}
		p.pending = append(p.pending, object{host: f.Host, guest: f.Path, mode: f.Mode, reason: reason{from: fromPackage, tree: true}})
	default:
		return nil // a device or a socket
	}
	if e := p.root.lookup(f.Path); e != nil && e.from == fromPackage {
		e.uid, e.gid = f.UID, f.GID
		p.knowOwner(e)
	}
	return nil
}

// addEssential adds the packages that every Debian system has for their
// interpreters: those of scripts that programs run. Scripts among the commands
// are for people, who need the interpreter's package with them; and a shell is
// found as for every program.
func (p *packages) addEssential() error {
	done := map[string]bool{}
	for _, o := range slices.Clone(p.pending) {
		if o.from != fromPackage || o.mode&0o111 == 0 || slices.Contains(programPath, path.Dir(o.guest)) {
			continue
		}
		line, err := firstLine(o.host)
		if err != nil {
			return err
		}
		interp, _, ok := parseScript(line)
		if !ok || done[interp] || isShell(interp) || p.root.lookup(interp) != nil {
			continue
		}
		done[interp] = true
		d, err := p.set.Essential(interp)
		if err != nil || d == nil {
			if err != nil {
				return packageError(err)
			}
			continue
		}
		if err := p.add(d); err != nil {
			return err
		}
	}
	return nil
}

// readDescription notes what a file of sysusers.d or tmpfiles.d says.
func (p *packages) readDescription(f deb.File) error {
	dir, name := path.Split(f.Path)
	dir = path.Clean(dir)
	users, tmpfiles := dir == "/usr/lib/sysusers.d", slices.Contains(tmpfilesDirs, dir)
	if !users && !tmpfiles || !strings.HasSuffix(name, ".conf") {
		return nil
	}
	text, err := os.ReadFile(f.Host)
	if err != nil {
		return ioError(err)
	}
	if users {
		p.setup.ReadSysusers(string(text))
	} else {
		p.tmpfiles[name] = string(text)
	}
	return nil
}

// knowOwner adds the user and the group that a file belongs to, by the names
// that this machine has for them.
func (p *packages) knowOwner(e *entry) {
	if e.uid|e.gid == 0 {
		return
	}
	a := hostAccounts()
	if e.uid != 0 {
		p.addAccount(a, nameOf(a.users, e.uid))
	}
	if e.gid != 0 {
		p.addGroup(a, nameOf(a.groups, e.gid))
	}
}

// addAlternatives adds the links of alternatives.
func (p *packages) addAlternatives() error {
	has := func(f string) bool { return p.root.lookup(f) != nil }
	all := append(p.set.Alternatives(), p.setup.Alternatives...)
	for _, a := range deb.Choose(all, has) {
		for _, l := range a.Links(has) {
			if e := p.root.entries[l[0]]; e != nil && e.mode&fs.ModeSymlink == 0 {
				continue // a file of a package's
			}
			if err := p.root.symlink(l[0], l[1], fromPackage); err != nil {
				return err
			}
		}
	}
	return nil
}

// addUsers adds the users and groups that the packages' installation makes:
// with this machine's numbers if it knows the names, or the first that are free.
func (p *packages) addUsers() error {
	host := hostAccounts()
	slices.Sort(p.setup.Groups)
	slices.SortFunc(p.setup.Users, func(a, b deb.User) int { return strings.Compare(a.Name, b.Name) })
	for _, name := range p.setup.Groups {
		p.addGroup(host, name)
	}
	for _, u := range p.setup.Users {
		p.addAccount(host, u.Name)
	}
	for _, name := range p.setup.Groups {
		p.newGroup(name)
	}
	for _, u := range p.setup.Users {
		p.newUser(u)
	}
	for _, m := range p.setup.Members {
		p.addMember(m.Group, m.User)
	}
	return nil
}

// addTmpfiles makes what the packages' descriptions in tmpfiles.d say, and
// gives what is there the owner and mode that they say.
func (p *packages) addTmpfiles() error {
	accounts := p.imageAccounts()
	for _, name := range slices.Sorted(maps.Keys(p.tmpfiles)) {
		for _, d := range parseTmpfiles(name, p.tmpfiles[name]) {
			if err := p.addServiceFolder(accounts, d); err != nil {
				return err
			}
		}
		for _, l := range parseTmpLinks(p.tmpfiles[name]) {
			if p.root.lookup(l[0]) != nil || p.root.entries[l[0]] != nil {
				continue
			}
			if err := p.root.symlink(l[0], l[1], fromRuntime); err != nil {
				return err
			}
		}
	}
	return nil
}

// changeable are the folders in which bake makes what an installation script
// makes.
var changeable = []string{"/etc", "/opt", "/run", "/srv", "/var"}

// applyChanges makes the folders of the packages' installation scripts, and
// changes owners and modes.
func (p *packages) applyChanges() error {
	accounts := p.imageAccounts()
	for _, c := range p.setup.Changes {
		c.Path = runPath(c.Path)
		if p.root.lookup(c.Path) == nil {
			if made, err := p.makeFile(c); err != nil || !made {
				if err != nil {
					return err
				}
				continue
			}
		}
		top, err := p.root.resolve(c.Path, true)
		if err != nil {
			return err
		}
		for f, e := range p.root.entries {
			if f == top || c.Recursive && under(f, top) {
				change(e, c, accounts)
			}
		}
	}
	return nil
}

// makeFile makes what an installation script makes at a place where there is
// nothing, and reports whether it did.
func (p *packages) makeFile(c deb.Change) (bool, error) {
	if !c.Makes || !under(path.Dir(c.Path), changeable...) || p.root.entries[c.Path] != nil {
		return false, nil
	}
	switch {
	case c.Make.IsDir():
		return true, p.root.mkdir(c.Path, 0o755, fromPackage)
	case c.Make&fs.ModeSymlink != 0:
		return true, p.root.symlink(c.Path, c.From, fromPackage)
	case c.From == "":
		return true, p.root.text(c.Path, "", fromPackage)
	}
	from := p.root.lookup(c.From)
	if from == nil || !from.mode.IsRegular() {
		return false, nil
	}
	copied := *from
	copied.from = fromPackage
	return true, p.root.put(c.Path, &copied)
}

// change gives an entry the owner and mode of c, as far as c has them and a
// knows the names. What the user has put there is the user's.
func change(e *entry, c deb.Change, a *accounts) {
	if e.from == fromAdded || e.from == fromBase && !e.mode.IsDir() {
		return
	}
	if uid, ok := a.uid(c.Owner); ok {
		e.uid = uid
	}
	if gid, ok := a.gid(c.Group); ok {
		e.gid = gid
	}
	if c.HasMode && e.mode&fs.ModeSymlink == 0 {
		e.mode = e.mode&fs.ModeType | fileMode(uint64(c.Mode))
		if c.Mode&0o4000 != 0 {
			e.mode |= fs.ModeSetuid
		}
	}
}

// ofPackage reports whether the image has p from a package.
func (b *baker) ofPackage(p string) bool {
	e := b.root.lookup(p)
	return e != nil && e.from == fromPackage
}

// packageProgram returns the path of a program that is named without a slash,
// or by its path in the image, if a package has it.
func (b *baker) packageProgram(program string) (string, bool) {
	if len(b.options.Debs) == 0 || strings.Contains(program, "/") && !path.IsAbs(program) {
		return "", false
	}
	if path.IsAbs(program) {
		return path.Clean(program), b.root.hostFile(program) != ""
	}
	for _, d := range programPath {
		if p := path.Join(d, program); b.root.hostFile(p) != "" {
			return p, true
		}
	}
	return "", false
}

// theProgram returns the program of the packages that are named, if they have
// only one. Of their services it says what they run.
func (p *packages) theProgram() (string, error) {
	var programs []string
	for _, f := range p.named {
		switch dir := path.Dir(f.Path); {
		case slices.Contains(programPath, dir) && !f.Mode.IsDir():
			programs = append(programs, f.Path)
		case slices.Contains(unitDirs, dir) && f.Mode.IsRegular() && strings.HasSuffix(f.Path, ".service"):
			text, err := os.ReadFile(f.Host)
			if err != nil {
				return "", ioError(err)
			}
			if start := strings.Fields(parseUnit("", string(text)).start); len(start) > 0 {
				p.hint("%s runs %s", path.Base(f.Path), strings.Join(start, " "))
			}
		}
	}
	slices.Sort(programs)
	if len(programs) == 1 {
		return programs[0], nil
	}
	if len(programs) == 0 {
		return "", inputErrorf("--deb", "no program is named, and %s has none", strings.Join(p.options.Debs, ", "))
	}
	return "", inputErrorf("--deb", "no program is named; there are %s", andMore(programs, 8))
}
