package bake

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// runtimes are programs that need more than libraries and that do not say so in
// themselves: the files of a language, which bake adds with its interpreter.
// They are where the interpreter looks for them, which depends on its own
// place. Bake does not run it to ask: it may not be for this machine, and is
// perhaps baked because nobody trusts it. docs/image.md lists them.
var runtimes = []struct {
	name string
	// program matches the base name of the interpreter, links followed; its
	// first group is VERSION below.
	program *regexp.Regexp
	// dirs are directories or files on the host. PREFIX is the one that the
	// interpreter's bin lies in, BASE its name; * matches as in a shell.
	dirs []string
	// skip are paths in the directories that no program at work needs.
	skip []string
	// config matches folders of configuration in /etc that are added if the
	// interpreter names them; nil for none. There only what everybody may
	// read is taken.
	config *regexp.Regexp
	hint   string
}{
	{
		// The library proper. Packages beside it are the user's to add:
		// they may be many times as large.
		name:    "Python",
		program: regexp.MustCompile(`^python(3\.\d+)$`),
		dirs:    []string{"PREFIX/lib/pythonVERSION"},
		skip:    []string{"test", "idlelib", "turtledemo", "tkinter", "lib2to3", "ensurepip", "pydoc_data", "config-*", "site-packages", "dist-packages"},
		hint:    "for installed packages, --add /usr/lib/python3/dist-packages",
	},
	{
		// Debian's directories, then those of perl's own installation.
		name:    "Perl",
		program: regexp.MustCompile(`^perl(5\.\d+\.\d+)?$`),
		dirs: []string{
			"/usr/lib/x86_64-linux-gnu/perl-base", "/usr/lib/x86_64-linux-gnu/perl/5*", "/usr/share/perl/5*",
			"PREFIX/lib/perl5/5*",
		},
		skip: []string{"CPAN", "Pod", "pod", "CORE", "Unicode"},
		hint: "for installed modules, --add /usr/share/perl5",
	},
	{
		// Debian's directories, then those of Ruby's own installation.
		name:    "Ruby",
		program: regexp.MustCompile(`^ruby(\d+\.\d+)?$`),
		dirs: []string{
			"PREFIX/lib/ruby", "/usr/lib/x86_64-linux-gnu/ruby", "/usr/share/rubygems-integration",
		},
		skip: []string{
			"*/*/gems/rbs-*", "*/*/gems/typeprof-*", "*/*/gems/debug-*", // tools of developers
			"gems/*/gems/rbs-*", "gems/*/gems/typeprof-*", "gems/*/gems/debug-*", "gems/*/doc",
		},
		hint: "for installed gems, --add /var/lib/gems",
	},
	{
		// The extensions' folder is named in the interpreter itself.
		name:    "PHP",
		program: regexp.MustCompile(`^php(?:-cgi|-fpm)?(\d+\.\d+)?$`),
		config:  regexp.MustCompile(`/etc/php/\d+\.\d+/(cli|cgi|fpm)`),
		hint:    "with the extensions and the configuration of this machine",
	},
	{
		// PREFIX is JAVA_HOME. What draws on a screen is left out.
		name:    "Java",
		program: regexp.MustCompile(`^java()$`),
		dirs:    []string{"PREFIX/lib", "PREFIX/conf", "PREFIX/release", "/etc/ssl/certs/java"},
		skip: []string{
			"src.zip", "ct.sym", "libawt_xawt.so", "libjawt.so", "libsplashscreen.so", "libatk-wrapper.so", "server/classes_nocoops.jsa",
		},
		hint: "for a smaller one, bake what jlink makes",
	},
	{
		// erl is a script in ROOT/bin.
		name:    "Erlang",
		program: regexp.MustCompile(`^erl()$`),
		dirs:    []string{"PREFIX/bin", "PREFIX/erts-*", "PREFIX/lib", "PREFIX/releases"},
		skip:    []string{"*/src", "*/include", "*/doc", "*/examples"},
		hint:    "for installed applications, --add their folders",
	},
	{
		name:    "PostgreSQL",
		program: regexp.MustCompile(`^(?:postgres|initdb|pg_ctl)()$`),
		dirs:    []string{"PREFIX/bin/postgres", "PREFIX/lib", "/usr/share/postgresql/BASE", "PREFIX/share"},
		skip:    []string{"bitcode", "llvmjit*", "pgxs", "man", "doc", "applications", "icons"},
		hint:    "without its compiler to machine code",
	},
}

// addRuntime adds the files of a language if the program at host is its
// interpreter.
func (b *baker) addRuntime(host string) error {
	for _, r := range runtimes {
		match := r.program.FindStringSubmatch(path.Base(host))
		if match == nil {
			continue
		}
		b.progress("adding the %s library (%s)", r.name, r.hint)
		prefix := path.Dir(path.Dir(host))
		subst := strings.NewReplacer("PREFIX", prefix, "VERSION", match[1], "BASE", path.Base(prefix))
		for _, pattern := range r.dirs {
			dirs, err := filepath.Glob(subst.Replace(pattern))
			if err != nil {
				continue // a prefix that is no pattern has no such directory
			}
			for _, d := range dirs {
				if err := b.addRuntimeDir(d, r.skip); err != nil {
					return err
				}
			}
		}
		if r.config != nil {
			if err := b.addConfiguration(host, r.config); err != nil {
				return err
			}
		}
	}
	return nil
}

// addConfiguration adds the folders of /etc that the program at host names and
// folders matches.
func (b *baker) addConfiguration(host string, folders *regexp.Regexp) error {
	content, err := os.ReadFile(host)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return ioError(err)
	}
	for _, dir := range folders.FindAll(content, -1) {
		if err := b.addIfThere(string(dir)); err != nil {
			return err
		}
	}
	return nil
}

// isRuntime reports whether the program at host is one of runtimes that say
// with dirs where their files are.
func isRuntime(host string) bool {
	for _, r := range runtimes {
		if len(r.dirs) > 0 && r.program.MatchString(path.Base(host)) {
			return true
		}
	}
	return false
}

// addRuntimeDir adds a directory or file of a language, or a link to one.
func (b *baker) addRuntimeDir(dir string, skip []string) error {
	st, err := os.Lstat(dir)
	if err != nil {
		return ioError(err)
	}
	if st.Mode()&fs.ModeSymlink != 0 {
		_, err := b.addLink(dir, dir, fromRuntime)
		return err // another match leads to its target
	}
	if !st.IsDir() {
		_, err := b.addHost(dir, reason{from: fromRuntime, tree: true})
		return err
	}
	skipped := func(rel string) bool { return matchesPath(rel, skip) }
	if err := b.addDir(dir, dir, fromRuntime, skipped); err != nil {
		return err
	}
	return b.dateSources(dir, fromRuntime)
}

// dateSources pins the time of Python sources below dir, "" for all, that their compiled form names.
//
// Python compiles a module anew unless the compiled form in __pycache__ names
// the source's time and size (PEP 3147, PEP 552). Compiling takes seconds at each
// boot: no other time may take its place.
func (b *baker) dateSources(dir string, from origin) error {
	for p, e := range b.root.entries {
		if !under(p, dir) || e.from != from || path.Base(path.Dir(p)) != "__pycache__" || !strings.HasSuffix(p, ".pyc") {
			continue
		}
		// DIR/__pycache__/NAME.cpython-311.pyc is of DIR/NAME.py.
		name, _, _ := strings.Cut(path.Base(p), ".")
		source := b.root.entries[path.Join(path.Dir(path.Dir(p)), name+".py")]
		if source == nil || source.host == "" {
			continue
		}
		mtime, size, ok, err := readPyc(e.host)
		if err != nil {
			return err
		}
		st, err := os.Stat(source.host)
		if err != nil {
			return ioError(err)
		}
		if ok && uint32(st.ModTime().Unix()) == mtime && uint32(source.size) == size {
			source.mtime, source.pinned = int64(mtime), true
		}
	}
	return nil
}

// readPyc returns the source's time and size that a compiled Python file
// names. ok is false if it names something else.
func readPyc(host string) (mtime, size uint32, ok bool, err error) {
	f, err := os.Open(host)
	if err != nil {
		return 0, 0, false, ioError(err)
	}
	defer f.Close()
	var head [16]byte // magic, flags, time, size; each 4 bytes
	if _, err := io.ReadFull(f, head[:]); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, 0, false, nil
	} else if err != nil {
		return 0, 0, false, ioError(err)
	}
	flags := binary.LittleEndian.Uint32(head[4:])
	return binary.LittleEndian.Uint32(head[8:]), binary.LittleEndian.Uint32(head[12:]), flags == 0, nil
}
