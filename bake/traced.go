package bake

import (
	"os"
	"strings"
)

// notTraced are what a program opens on the host that the image has of its own:
// the file systems that the guest mounts, and the cache of libraries, which is
// of the host's libraries.
var notTraced = []string{"/proc", "/sys", "/dev", "/run", "/etc/ld.so.cache"}

// addTraced adds what a run of the program on the host opened. What the base
// has stays the base's: the host's users and name servers are not the guest's.
// Of a directory nothing but itself is added.
func (b *baker) addTraced() error {
	for _, p := range b.options.Traced {
		st, err := os.Stat(p)
		if err != nil || under(p, notTraced...) {
			continue // gone since
		}
		if e := b.root.lookup(p); e != nil && e.from == fromBase {
			continue
		}
		if strings.HasPrefix(p, "/etc/") && st.Mode()&0o004 == 0 {
			b.hint("left out: %s, which not everybody may read (--add %s)", p, p)
			continue
		}
		switch {
		case st.IsDir():
			end, err := b.addLinksTo(p, fromTraced)
			if err != nil {
				return err
			}
			if b.root.lookup(end) == nil {
				err = b.root.mkdir(end, st.Mode().Perm()|st.Mode()&os.ModeSticky, fromTraced)
			}
			if err != nil {
				return err
			}
		case st.Mode().IsRegular():
			if _, err := b.addHost(p, reason{from: fromTraced, tree: true}); err != nil {
				return err
			}
		}
	}
	return b.dateSources("", fromTraced)
}
