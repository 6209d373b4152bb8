package bake

import (
	"bytes"
	"os"
	"path"
	"slices"
	"strings"
)

// A need is something beside libraries that programs look for at places that
// everybody knows, and the signs by which bake sees that a program, or one of
// its libraries, may. Any one sign is enough.
type need struct {
	name string // for messages and tests

	calls     []string // functions that it takes from others
	libraries []string // libraries that it needs, without their versions
	text      []string // what stands in it, in static programs the only sign

	add func(*baker, *linkage) error
}

// needs are all of them. docs/image.md lists them for users.
var needs = []need{
	{
		// glibc reads the one locale beside C that programs may expect
		// everywhere; musl has it built in.
		name: "locale C.UTF-8",
		calls: []string{
			"setlocale", "newlocale", "__newlocale",
			// std::locale by name, of libstdc++ and libc++.
			"_ZNSt6localeC1EPKc", "_ZNSt6localeC2EPKc", "_ZNSt6localeC1ERKS_PKci", "_ZNSt6localeC2ERKS_PKci",
			"_ZNSt3__16localeC1EPKc", "_ZNSt3__16localeC2EPKc", "_ZNSt3__16localeC1ERKS0_PKci", "_ZNSt3__16localeC2ERKS0_PKci",
			"_ZNSt3__16localeC1ERKNS_12basic_stringIcNS_11char_traitsIcEENS_9allocatorIcEEEE",
		},
		text: []string{"/usr/lib/locale"},
		add:  (*baker).addLocale,
	},
	{
		name:  "time zones",
		calls: []string{"localtime", "localtime_r", "mktime", "tzset", "timelocal"},
		text:  []string{"/usr/share/zoneinfo"},
		add:   (*baker).addZones,
	},
	{
		name:      "certificates",
		libraries: []string{"libssl.so", "libgnutls.so"},
		text:      []string{"/etc/ssl/certs", "/etc/pki/tls/certs"},
		add:       (*baker).addCertificates,
	},
	{
		// OpenSSL's configuration, and algorithms that it loads when they
		// are asked for (provider(7), "legacy").
		name:      "OpenSSL's configuration",
		libraries: []string{"libcrypto.so"},
		add:       (*baker).addOpenSSL,
	},
	{
		name:  "shell",
		calls: []string{"system", "popen", "wordexp"},
		text:  []string{"/bin/sh"},
		add:   (*baker).addShell,
	},
	{
		name: "names of services",
		calls: []string{
			"getaddrinfo", "getnameinfo", "getservbyname", "getservbyport", "getservent", "getservbyname_r", "getservbyport_r",
			"getprotobyname", "getprotobynumber", "getprotoent", "getprotobyname_r", "getprotobynumber_r",
		},
		text: []string{"/etc/services"},
		add:  addPaths("/etc/services", "/etc/protocols"),
	},
	{
		name:  "names of RPC programs",
		calls: []string{"getrpcbyname", "getrpcbynumber", "getrpcbyname_r", "getrpcbynumber_r"},
		text:  []string{"/etc/rpc"},
		add:   addPaths("/etc/rpc"),
	},
	{
		name: "name services",
		calls: []string{
			"getaddrinfo", "getnameinfo", "gethostbyname", "gethostbyname2", "gethostbyaddr", "gethostbyname_r", "gethostbyname2_r",
			"getpwnam", "getpwuid", "getpwnam_r", "getpwuid_r", "getgrnam", "getgrgid", "getgrnam_r", "getgrgid_r",
			"getservbyname", "getservbyport", "getprotobyname", "initgroups", "getgrouplist",
		},
		add: (*baker).addNameServices,
	},
	{
		name:  "character sets",
		calls: []string{"iconv_open"},
		add:   (*baker).addCharsets,
	},
	{
		name:      "terminals",
		libraries: []string{"libtinfo.so", "libtinfow.so", "libncurses.so", "libncursesw.so"},
		text:      []string{"/lib/terminfo"},
		add:       (*baker).addTerminals,
	},
	{
		name: "kinds of files by name",
		text: []string{"/etc/mime.types"},
		add:  addPaths("/etc/mime.types"),
	},
	{
		name:      "kinds of files by content",
		libraries: []string{"libmagic.so"},
		add:       addPaths("/usr/share/misc/magic.mgc", "/etc/magic"),
	},
	{
		name:      "PAM",
		libraries: []string{"libpam.so"},
		add:       (*baker).addPAM,
	},
	{
		name:      "SASL",
		libraries: []string{"libsasl2.so"},
		add:       addPaths("/usr/lib/x86_64-linux-gnu/sasl2", "/usr/lib/sasl2", "/usr/lib64/sasl2"),
	},
}

// neededCalls are the functions that needs name.
var neededCalls = map[string]bool{}

func init() {
	for _, n := range needs {
		for _, c := range n.calls {
			neededCalls[c] = true
		}
	}
}

// forAll are libraries that have calls for those who link with them: what
// these call tells, not that the libraries could.
var forAll = []string{"ld-linux-x86-64.so", "ld-musl-", "libc.so", "libc.musl-", "libc-", "libstdc++.so", "libc++.so"}

// mayNeed reports whether the file with this linkage and content shows a sign.
func (n *need) mayNeed(l *linkage, content []byte) bool {
	for _, c := range n.calls {
		if l.calls[c] {
			return true
		}
	}
	for _, lib := range n.libraries {
		for _, name := range l.needed {
			if strings.HasPrefix(name, lib) {
				return true
			}
		}
	}
	for _, t := range n.text {
		if bytes.Contains(content, []byte(t)) {
			return true
		}
	}
	return false
}

// addLookedFor adds what the ELF file o may look for.
func (b *baker) addLookedFor(o object, l *linkage) error {
	name := path.Base(o.guest)
	if slices.ContainsFunc(forAll, func(lib string) bool { return strings.HasPrefix(name, lib) }) {
		return nil
	}
	content, err := os.ReadFile(o.host)
	if err != nil {
		return ioError(err)
	}
	for i := range needs {
		n := &needs[i]
		if b.met[n.name] || !n.mayNeed(l, content) {
			continue
		}
		b.met[n.name] = true
		if err := n.add(b, l); err != nil {
			return err
		}
	}
	if o.from == fromProgram {
		if err := b.addService(o, l, content); err != nil {
			return err
		}
	}
	if o.tree && o.from == fromAdded || b.inRoot(o.host) || b.ofPackage(o.guest) || isRuntime(o.host) {
		return nil // it is the user's to say what belongs to it, or known
	}
	return b.addOwn(o, content)
}

// addPaths returns a need.add for files and folders that lie at the same place
// everywhere. Those that the host does not have are left out.
func addPaths(paths ...string) func(*baker, *linkage) error {
	return func(b *baker, _ *linkage) error { return b.addIfThere(paths...) }
}

// addIfThere adds what the host has of paths, unless the image has it. Only
// what everybody may read is taken.
func (b *baker) addIfThere(paths ...string) error {
	for _, p := range paths {
		if b.isGiven(p) {
			continue
		}
		st, err := os.Stat(p)
		if err != nil {
			continue // not on this machine, and nothing that must be
		}
		switch {
		case st.IsDir():
			err = b.addFolder(p, nil)
		case st.Mode().IsRegular() && st.Mode()&0o004 != 0:
			_, err = b.addHost(p, reason{from: fromRuntime, tree: true})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// isGiven reports whether the user has seen to it that the image has p, in the
// form that is wanted.
func (b *baker) isGiven(p string) bool {
	e := b.root.lookup(p)
	return e != nil && e.from > fromTraced
}

// addFolder adds a folder of the host's, and the links that lead there, without
// the paths in it that skip matches and without what not everybody may read.
func (b *baker) addFolder(dir string, skip []string) error {
	end, err := b.addLinksTo(dir, fromRuntime)
	if err != nil {
		return err
	}
	return b.addDir(end, end, fromRuntime, func(rel string) bool {
		if matchesPath(rel, skip) {
			return true
		}
		st, err := os.Stat(path.Join(end, rel))
		return err == nil && st.Mode()&0o004 == 0 // a link that leads nowhere stays
	})
}

// matchesPath reports whether rel, a path that begins with a slash, matches one
// of the patterns, which have none.
func matchesPath(rel string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		ok, err := path.Match("/"+pattern, rel)
		return err == nil && ok
	})
}
