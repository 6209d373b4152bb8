package bake

import (
	"os"
	"path"
)

// zoneDir is where programs look for time zones (tzfile(5)), 2 MB.
const zoneDir = "/usr/share/zoneinfo"

// addZones adds the time zones, but not those that count leap seconds, and not
// a second name for all others.
func (b *baker) addZones(*linkage) error {
	if b.isGiven(zoneDir) {
		return nil
	}
	if _, err := os.Stat(zoneDir); err != nil {
		b.hint("this machine has no time zones to add: the program knows UTC only (Debian has them in tzdata)")
		return nil
	}
	return b.addFolder(zoneDir, []string{"right", "posix"})
}

// certificatePlaces are where the authorities' certificates are: Debian's, and
// those of other distributions that programs are built for.
var certificatePlaces = []string{
	"/etc/ssl/certs", "/etc/ssl/cert.pem", "/usr/lib/ssl/cert.pem", "/usr/lib/ssl/certs",
	"/etc/pki/tls/certs", "/etc/pki/tls/cert.pem", "/etc/pki/ca-trust/extracted/pem",
}

// addCertificates adds the certificates of the authorities that the host
// trusts.
func (b *baker) addCertificates(*linkage) error {
	found := false
	for _, p := range certificatePlaces {
		if b.isGiven(p) {
			found = true
			continue
		}
		st, err := os.Stat(p)
		if err != nil {
			continue
		}
		found = true
		if st.IsDir() {
			err = b.addFolder(p, []string{"java"}) // another form of the same, which Java's run time adds
		} else {
			_, err = b.addHost(p, reason{from: fromRuntime, tree: true})
		}
		if err != nil {
			return err
		}
	}
	if !found {
		b.hint("this machine has no certificates to add: the program can trust no server (Debian has them in ca-certificates)")
	}
	return nil
}

// addOpenSSL adds OpenSSL's configuration and providers, but no keys.
func (b *baker) addOpenSSL(*linkage) error {
	return b.addIfThere("/usr/lib/ssl/openssl.cnf", "/etc/ssl/openssl.cnf", "/etc/pki/tls/openssl.cnf",
		"/usr/lib/x86_64-linux-gnu/ossl-modules", "/usr/lib64/ossl-modules")
}

// addShell adds the shell that system(3), popen(3) and their like run.
func (b *baker) addShell(*linkage) error {
	const shell = "/bin/sh"
	if b.root.lookup(shell) != nil {
		return nil
	}
	if _, err := os.Stat(shell); err != nil {
		return nil
	}
	_, err := b.addHost(shell, reason{from: fromRuntime, tree: true})
	return err
}

// terminals are those whose descriptions are added (terminfo(5)); all would be
// 10 MB.
var terminals = []string{
	"ansi", "dumb", "linux", "screen", "screen-256color", "tmux", "tmux-256color", "vt100", "vt102", "vt220",
	"xterm", "xterm-256color", "xterm-color",
}

// addTerminals adds the descriptions of usual terminals.
func (b *baker) addTerminals(*linkage) error {
	for _, dir := range []string{"/lib/terminfo", "/usr/share/terminfo", "/etc/terminfo"} {
		for _, t := range terminals {
			if err := b.addIfThere(path.Join(dir, t[:1], t)); err != nil {
				return err
			}
		}
	}
	return nil
}
