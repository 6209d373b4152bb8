package deb

import (
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	"mvdan.cc/sh/v3/syntax"
)

// commands are those of an installation script that bake reads: what they make
// is seen from their arguments.
var commands = map[string]func(*Setup, []string) bool{
	"adduser": readAdduser, "addgroup": readAddgroup, "useradd": readUseradd, "groupadd": readGroupadd,
	"mkdir": readMkdir, "install": readInstall, "chown": readChown, "chgrp": readChgrp, "chmod": readChmod,
	"ln": readLn, "cp": readCopy, "ucf": readUCF, "touch": readTouch,
	"dpkg-statoverride": readStatoverride, "update-alternatives": readAlternatives,
}

// readScript reads the commands in the text of a script, under whatever
// conditions they stand. unread is told those whose arguments are not literal.
// A script that is not a shell's has none.
func readScript(text string, unread func(command string)) *Setup {
	s := &Setup{}
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(text), "")
	if err != nil {
		return s
	}
	v := variables{}
	syntax.Walk(file, func(n syntax.Node) bool {
		call, ok := n.(*syntax.CallExpr)
		if !ok {
			return true
		}
		if len(call.Args) == 0 {
			v.assign(call.Assigns)
			return true
		}
		name := path.Base(call.Args[0].Lit())
		read := commands[name]
		if read == nil {
			return true
		}
		if words, ok := v.words(call.Args[1:]); !ok || !read(s, words) {
			unread(name)
		}
		return true
	})
	return s
}

// variables are those of a script that have been given literal values.
type variables map[string]string

// assign notes what assignments set. One that is not literal makes its
// variable unknown.
func (v variables) assign(assigns []*syntax.Assign) {
	for _, a := range assigns {
		if a.Name == nil {
			continue
		}
		value, ok := "", a.Value == nil && a.Array == nil
		if a.Value != nil {
			value, ok = v.word(a.Value.Parts)
		}
		if ok && !a.Append {
			v[a.Name.Value] = value
		} else {
			delete(v, a.Name.Value)
		}
	}
}

// words returns what words are, false if that is not known.
func (v variables) words(words []*syntax.Word) (out []string, ok bool) {
	for _, w := range words {
		text, ok := v.word(w.Parts)
		if !ok {
			return nil, false
		}
		out = append(out, text)
	}
	return out, true
}

// word returns what the parts of a word make, false if that is not known.
func (v variables) word(parts []syntax.WordPart) (string, bool) {
	var out strings.Builder
	for _, p := range parts {
		text, ok := "", true
		switch p := p.(type) {
		case *syntax.Lit:
			text = p.Value
		case *syntax.SglQuoted:
			text = p.Value
		case *syntax.DblQuoted:
			text, ok = v.word(p.Parts)
		case *syntax.ParamExp:
			edited := p.Excl || p.Length || p.Width || p.Index != nil || p.Slice != nil || p.Repl != nil || p.Exp != nil
			text, ok = v[p.Param.Value]
			ok = ok && !edited && !strings.ContainsAny(text, " \t\n")
		default:
			ok = false
		}
		if !ok {
			return "", false
		}
		out.WriteString(text)
	}
	return out.String(), true
}

// options returns the flags of a command: those named say nothing of interest
// here; single letters are flags without values, words as they end, NAME or
// NAME=, have none or one.
func options(letters string, words ...string) *pflag.FlagSet {
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	for _, l := range letters {
		fs.BoolP("letter-"+string(l), string(l), false, "")
	}
	for _, w := range words {
		if name, ok := strings.CutSuffix(w, "="); ok {
			fs.String(name, "", "")
		} else {
			fs.Bool(w, false, "")
		}
	}
	return fs
}

// readAdduser reads adduser(8): a user, a group, or a user who is to belong to
// a group.
func readAdduser(s *Setup, args []string) bool {
	fs := options("q", "quiet", "verbose", "debug", "disabled-password", "disabled-login", "no-create-home", "force-badname",
		"allow-badname", "allow-bad-names", "allow-all-names", "add-extra-groups", "add_extra_groups", "encrypt-home",
		"uid=", "gid=", "firstuid=", "lastuid=", "firstgid=", "lastgid=", "conf=")
	u := User{}
	fs.StringVar(&u.Home, "home", "", "")
	fs.StringVar(&u.Shell, "shell", "", "")
	fs.StringVar(&u.Comment, "gecos", "", "")
	fs.StringVar(&u.Comment, "comment", "", "")
	fs.StringVar(&u.Group, "ingroup", "", "")
	system := fs.Bool("system", false, "")
	group := fs.Bool("group", false, "")
	if fs.Parse(args) != nil {
		return false
	}
	switch {
	case fs.NArg() == 2:
		s.Members = append(s.Members, Member{fs.Arg(0), fs.Arg(1)})
	case fs.NArg() == 1 && *group && !*system:
		s.Groups = append(s.Groups, fs.Arg(0))
	case fs.NArg() == 1:
		u.Name = fs.Arg(0)
		if *system && !*group && u.Group == "" {
			u.Group = "nogroup"
		}
		s.Users = append(s.Users, u)
	default:
		return false
	}
	return true
}

// readAddgroup reads addgroup(8): adduser --group, whose --system says only
// which number the group gets.
func readAddgroup(s *Setup, args []string) bool {
	args = slices.DeleteFunc(slices.Clone(args), func(a string) bool { return a == "--system" })
	return readAdduser(s, append([]string{"--group"}, args...))
}

// readUseradd reads useradd(8).
func readUseradd(s *Setup, args []string) bool {
	fs := options("rMmNUlo", "system", "no-create-home", "create-home", "no-user-group", "user-group", "no-log-init", "non-unique",
		"base-dir=", "skel=", "password=")
	u := User{}
	fs.StringVarP(&u.Home, "home-dir", "d", "", "")
	fs.StringVar(&u.Home, "home", "", "")
	fs.StringVarP(&u.Shell, "shell", "s", "", "")
	fs.StringVarP(&u.Comment, "comment", "c", "", "")
	fs.StringVarP(&u.Group, "gid", "g", "", "")
	groups := fs.StringSliceP("groups", "G", nil, "")
	fs.StringP("uid", "u", "", "")
	fs.StringP("key", "K", "", "")
	if fs.Parse(args) != nil || fs.NArg() != 1 {
		return false
	}
	u.Name = fs.Arg(0)
	s.Users = append(s.Users, u)
	for _, g := range *groups {
		s.Members = append(s.Members, Member{u.Name, g})
	}
	return true
}

// readGroupadd reads groupadd(8).
func readGroupadd(s *Setup, args []string) bool {
	fs := options("fro", "force", "system", "non-unique", "password=")
	fs.StringP("gid", "g", "", "")
	fs.StringP("key", "K", "", "")
	if fs.Parse(args) != nil || fs.NArg() != 1 {
		return false
	}
	s.Groups = append(s.Groups, fs.Arg(0))
	return true
}

// readMkdir reads mkdir(1).
func readMkdir(s *Setup, args []string) bool {
	fs := options("pvZ", "parents", "verbose")
	mode := fs.StringP("mode", "m", "", "")
	if fs.Parse(args) != nil {
		return false
	}
	return s.makeFolders(fs.Args(), Change{}, *mode)
}

// readInstall reads install(1) where it makes folders.
func readInstall(s *Setup, args []string) bool {
	fs := options("DvpCcbsZT", "verbose", "preserve-timestamps", "compare", "strip", "no-target-directory")
	c := Change{}
	fs.StringVarP(&c.Owner, "owner", "o", "", "")
	fs.StringVarP(&c.Group, "group", "g", "", "")
	mode := fs.StringP("mode", "m", "", "")
	folders := fs.BoolP("directory", "d", false, "")
	if fs.Parse(args) != nil {
		return false
	}
	if !*folders {
		return true // copies a file
	}
	return s.makeFolders(fs.Args(), c, *mode)
}

// makeFolders adds folders that are made like c, with a mode if it is not "".
func (s *Setup) makeFolders(paths []string, c Change, mode string) bool {
	c.Make, c.Makes = fs.ModeDir, true
	if mode != "" && !c.setMode(mode) {
		return false
	}
	for _, c.Path = range paths {
		s.addChange(c)
	}
	return true
}

// setMode sets a mode that is a number.
func (c *Change) setMode(text string) bool {
	n, err := strconv.ParseUint(text, 8, 12)
	c.Mode, c.HasMode = uint32(n), err == nil
	return err == nil
}

// readLn reads ln(1) where it makes one symbolic link by its path.
func readLn(s *Setup, args []string) bool {
	fset := options("fnrTvb", "force", "no-dereference", "no-target-directory", "relative", "verbose")
	symbolic := fset.BoolP("symbolic", "s", false, "")
	if fset.Parse(args) != nil || fset.NArg() != 2 {
		return false
	}
	if *symbolic {
		s.addChange(Change{Path: fset.Arg(1), Make: fs.ModeSymlink, Makes: true, From: fset.Arg(0)})
	}
	return true
}

// readUCF reads ucf(1) where it puts a file of configuration into place.
func readUCF(s *Setup, args []string) bool {
	fset := options("dnsvz", "three-way", "debconf-ok", "debug", "no-action", "src-dir=", "sum-file=", "state-dir=", "debconf-template=")
	purge := fset.BoolP("purge", "p", false, "")
	if fset.Parse(args) != nil || !*purge && fset.NArg() != 2 {
		return false
	}
	return *purge || s.copyFile(fset.Arg(0), fset.Arg(1))
}

// copyFile adds a copy of one file.
func (s *Setup) copyFile(from, to string) bool {
	if path.IsAbs(from) {
		s.addChange(Change{Path: to, Makes: true, From: path.Clean(from)})
	}
	return true
}

// readCopy reads cp(1) where it copies one file of a package.
func readCopy(s *Setup, args []string) bool {
	fset := options("apnrRfdLuPTvi", "archive", "recursive", "force", "no-clobber", "update", "dereference", "no-dereference", "verbose")
	if fset.Parse(args) != nil {
		return false
	}
	return fset.NArg() != 2 || s.copyFile(fset.Arg(0), fset.Arg(1))
}

// readTouch reads touch(1).
func readTouch(s *Setup, args []string) bool {
	fset := options("acmh", "no-create", "no-dereference")
	if fset.Parse(args) != nil {
		return false
	}
	for _, p := range fset.Args() {
		s.addChange(Change{Path: p, Makes: true})
	}
	return true
}

// changeLetters and changeWords are flags of chown(1), chgrp(1) and chmod(1).
const changeLetters = "fcvhLHP"

var changeWords = []string{"changes", "silent", "quiet", "verbose", "no-dereference", "dereference", "preserve-root"}

// readChown reads chown(1).
func readChown(s *Setup, args []string) bool {
	fs := options(changeLetters, append(changeWords, "from=")...)
	c := Change{}
	fs.BoolVarP(&c.Recursive, "recursive", "R", false, "")
	if fs.Parse(args) != nil || fs.NArg() < 2 {
		return false
	}
	owner := strings.Replace(fs.Arg(0), ".", ":", 1) // an old form
	c.Owner, c.Group, _ = strings.Cut(owner, ":")
	for _, c.Path = range fs.Args()[1:] {
		s.addChange(c)
	}
	return true
}

// readChgrp reads chgrp(1).
func readChgrp(s *Setup, args []string) bool {
	fs := options(changeLetters, changeWords...)
	c := Change{}
	fs.BoolVarP(&c.Recursive, "recursive", "R", false, "")
	if fs.Parse(args) != nil || fs.NArg() < 2 {
		return false
	}
	c.Group = fs.Arg(0)
	for _, c.Path = range fs.Args()[1:] {
		s.addChange(c)
	}
	return true
}

// readChmod reads chmod(1) where the mode is a number.
func readChmod(s *Setup, args []string) bool {
	fs := options(changeLetters, changeWords...)
	c := Change{}
	fs.BoolVarP(&c.Recursive, "recursive", "R", false, "")
	if fs.Parse(args) != nil || fs.NArg() < 2 || !c.setMode(fs.Arg(0)) {
		return false
	}
	for _, c.Path = range fs.Args()[1:] {
		s.addChange(c)
	}
	return true
}

// readStatoverride reads dpkg-statoverride(1) where it adds an owner and a mode.
func readStatoverride(s *Setup, args []string) bool {
	fs := options("", "update", "force", "force-all", "force-statoverride-add", "quiet", "list", "remove")
	add := fs.Bool("add", false, "")
	if fs.Parse(args) != nil {
		return false
	}
	if !*add {
		return true
	}
	if fs.NArg() != 4 {
		return false
	}
	c := Change{Path: fs.Arg(3), Owner: strings.TrimPrefix(fs.Arg(0), "#"), Group: strings.TrimPrefix(fs.Arg(1), "#")}
	if !c.setMode(fs.Arg(2)) {
		return false
	}
	s.addChange(c)
	return true
}
