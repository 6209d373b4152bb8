package ext4

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"kiln/kernel/fs"
	"kiln/kernel/fs/block/blocktest"
)

// A crasher runs a model on a disk with a volatile cache, and now and then
// takes what the disk would hold if the power went at that moment.
//
// After each operation it remembers all names. What a cut holds must have
// exactly the names after one of the operations since the last one that was
// made durable.
type crasher struct {
	*model
	dev  *blocktest.Volatile
	r    *rand.Rand // for cuts, under mu
	rate float64    // of cuts, for each request to the device

	mu   sync.Mutex
	cuts []*blocktest.Memory // taken during the operation. Guarded by mu

	states   []map[string]entry  // after each operation
	durable  int                 // the first of them that may be what a cut has
	history  map[*node][]version // of content, from the durable one on
	checked  int
	replayed int // by e2fsck, too
}

// version is a file's content after an operation.
type version struct {
	op   int
	data []byte
}

// entry is what a name stands for.
type entry struct {
	what string
	node *node
}

func newCrasher(t *testing.T, m *blocktest.Memory, seed uint64, rate float64) *crasher {
	c := &crasher{
		dev: blocktest.NewVolatile(m), r: rand.New(rand.NewPCG(seed, 7)), rate: rate,
		history: map[*node][]version{},
	}
	f, err := Mount(c.dev, Options{Log: func(s string) { t.Log(s) }, CacheBytes: 128 << 10})
	if err != nil {
		t.Fatal(err)
	}
	c.model = newModel(t, f, seed)
	c.model.limit = 60_000
	c.states = []map[string]entry{{}}
	c.dev.Step = func(int) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.r.Float64() < c.rate && len(c.cuts) < 3 {
			c.cuts = append(c.cuts, c.dev.Cut(c.r))
		}
	}
	return c
}

// state collects all names and what they stand for.
func (c *crasher) state() map[string]entry {
	s := map[string]entry{}
	var walk func(prefix string, n *node)
	walk = func(prefix string, n *node) {
		for name, sub := range n.children {
			s[prefix+name] = entry{sub.describe(), sub}
			walk(prefix+name+"/", sub)
		}
	}
	walk("", c.root)
	return s
}

func (n *node) describe() string {
	links := n.links
	if n.children != nil {
		links = 0
	}
	var attrs []string
	for name, v := range n.xattrs {
		attrs = append(attrs, fmt.Sprintf("%s=%x", name, v))
	}
	slices.Sort(attrs)
	return fmt.Sprintf("%o %d %s %s", n.mode, links, n.target, strings.Join(attrs, " "))
}

// op does one operation and checks the cuts that were taken during it.
func (c *crasher) op() {
	switch c.model.r.IntN(12) {
	case 0:
		c.must(c.f.Sync())
		c.after(len(c.states) - 1)
	case 1, 2:
		c.fsync()
	default:
		c.step()
		c.after(-1)
	}
}

// fsync syncs a random file or directory.
func (c *crasher) fsync() {
	d := c.randomDir()
	defer d.in.DecRef()
	name, n := c.pick(d.n, func(*node) bool { return true })
	if n == nil {
		return
	}
	in, err := d.in.Lookup(name)
	c.must(err)
	defer in.DecRef()
	c.must(in.Sync(c.model.r.IntN(2) == 0))
	c.after(-1)
	if h := c.history[n]; len(h) > 0 {
		last := h[len(h)-1]
		c.history[n] = []version{last}
		// The transaction of its last change has committed, and with it all
		// before.
		c.durable = max(c.durable, last.op)
	}
}

// after records the state after an operation, checks the cuts, and then, if
// synced is not negative, counts everything up to that state as durable.
func (c *crasher) after(synced int) {
	now := c.state()
	c.states = append(c.states, now)
	for _, e := range now {
		h := c.history[e.node]
		if e.node.mode == 0x8000 && (len(h) == 0 || !bytes.Equal(h[len(h)-1].data, e.node.data)) {
			c.history[e.node] = append(h, version{len(c.states) - 1, bytes.Clone(e.node.data)})
		}
	}
	c.mu.Lock()
	cuts := c.cuts
	c.cuts = nil
	c.mu.Unlock()
	for _, cut := range cuts {
		c.check(cut)
	}
	if synced >= 0 {
		c.durable = max(c.durable, synced)
		for n, h := range c.history {
			c.history[n] = h[len(h)-1:]
		}
	}
}

// check mounts what a cut left and compares.
func (c *crasher) check(cut *blocktest.Memory) {
	c.t.Helper()
	defer func() {
		if c.t.Failed() {
			name := filepath.Join(os.TempDir(), fmt.Sprintf("ext4-cut-%d.img", os.Getpid()))
			cut.Save(name)
			c.t.Logf("the disk after the cut is kept as %s", name)
		}
	}()
	c.checked++
	ours := cut.Clone()
	f, err := Mount(ours, Options{})
	if err != nil {
		c.t.Fatalf("mount after a cut: %v", err)
	}
	found, content := c.read(f)
	if err := f.Unmount(); err != nil {
		c.t.Fatal(err)
	}
	c.match(found, content)
	if c.checked%5 == 0 {
		c.cutReplay(cut)
	}
	if !long && c.checked%4 != 0 {
		return
	}
	fsck(c.t, ours)
	theirs := replayByFsck(c.t, cut)
	if theirs == nil {
		return
	}
	c.replayed++
	f, err = Mount(theirs, Options{ReadOnly: true})
	c.must(err)
	found2, content2 := c.read(f)
	if fmt.Sprint(found) != fmt.Sprint(found2) || fmt.Sprint(content) != fmt.Sprint(content2) {
		c.t.Fatalf("e2fsck replays the journal to something else")
	}
}

// cutReplay cuts the power again while the journal is being replayed.
func (c *crasher) cutReplay(cut *blocktest.Memory) {
	c.t.Helper()
	v := blocktest.NewVolatile(cut)
	r := rand.New(rand.NewPCG(uint64(c.checked), 8))
	at := 1 + r.IntN(20)
	var again *blocktest.Memory
	v.Step = func(int) {
		if at--; at == 0 {
			again = v.Cut(r)
		}
	}
	f, err := Mount(v, Options{})
	c.must(err)
	if again == nil { // it took fewer requests
		again = v.Cut(r)
	}
	v.Step = nil
	c.must(f.Unmount())
	f, err = Mount(again, Options{})
	if err != nil {
		c.t.Fatalf("mount after a cut during replay: %v", err)
	}
	found, content := c.read(f)
	c.must(f.Unmount())
	c.match(found, content)
	if c.checked%20 == 0 {
		fsck(c.t, again)
	}
}

// read returns all names of a file system with what they stand for, and the
// content of its files.
func (c *crasher) read(f *FS) (map[string]string, map[string][]byte) {
	found, content := map[string]string{}, map[string][]byte{}
	var walk func(prefix string, in fs.Inode)
	walk = func(prefix string, in fs.Inode) {
		defer in.DecRef()
		for _, e := range listDir(c.t, in) {
			sub, err := in.Lookup(e.Name)
			c.must(err)
			a, err := sub.Attr()
			c.must(err)
			n := &node{mode: a.Mode & 0xf000, links: int(a.Nlink), xattrs: map[string][]byte{}}
			names, err := sub.Listxattr()
			c.must(err)
			for _, name := range names {
				n.xattrs[name], err = sub.Getxattr(name)
				c.must(err)
			}
			path := prefix + e.Name
			switch n.mode {
			case 0x4000:
				n.children = map[string]*node{}
				if path == "lost+found" {
					sub.DecRef()
					continue
				}
				sub.IncRef()
				walk(path+"/", sub)
			case 0xa000:
				n.target, err = sub.Readlink()
				c.must(err)
			case 0x8000:
				content[path], err = io.ReadAll(io.NewSectionReader(sub, 0, 1<<40))
				c.must(err)
			}
			found[path] = n.describe()
			sub.DecRef()
		}
	}
	root, err := f.Root()
	c.must(err)
	walk("", root)
	return found, content
}

// match finds the operation whose names a cut has, and compares content.
func (c *crasher) match(found map[string]string, content map[string][]byte) {
	c.t.Helper()
	var wrong error
	for i := len(c.states) - 1; i >= c.durable; i-- {
		if !sameNames(c.states[i], found) {
			continue
		}
		// The same names may have stood for other files before.
		if wrong = c.matchState(c.states[i], content); wrong == nil {
			return
		}
	}
	if wrong != nil {
		c.t.Fatal(wrong)
	}
	for path, e := range c.states[c.durable] {
		if found[path] != e.what {
			c.t.Logf("%s: %q, after operation %d %q", path, found[path], c.durable, e.what)
		}
	}
	c.t.Fatalf("the names after a cut are those of no operation from %d to %d", c.durable, len(c.states)-1)
}

// matchState compares the content of all files.
func (c *crasher) matchState(s map[string]entry, content map[string][]byte) error {
	for path, data := range content {
		if err := c.matchContent(path, s[path].node, data); err != nil {
			return err
		}
	}
	return nil
}

func sameNames(s map[string]entry, found map[string]string) bool {
	if len(s) != len(found) {
		return false
	}
	for path, e := range s {
		if found[path] != e.what {
			return false
		}
	}
	return true
}

// matchContent checks that each sector of a file is one that it had since it
// was last durable, or zero.
func (c *crasher) matchContent(path string, n *node, data []byte) error {
	h := c.history[n]
	smallest, largest := len(h[0].data), len(h[0].data)
	for _, v := range h {
		smallest, largest = min(smallest, len(v.data)), max(largest, len(v.data))
	}
	if len(data) < smallest || len(data) > largest {
		return fmt.Errorf("%s has %d bytes, want %d to %d", path, len(data), smallest, largest)
	}
	const sector = 512
	for at := 0; at < len(data); at += sector {
		got := data[at:min(len(data), at+sector)]
		if len(h) > 1 && len(bytes.Trim(got, "\x00")) == 0 {
			continue
		}
		if !slices.ContainsFunc(h, func(v version) bool { return bytes.Equal(got, sectorOf(v.data, at, len(got))) }) {
			return fmt.Errorf("%s: the sector at %d of %d is none of the file's %d versions", path, at, len(data), len(h))
		}
	}
	return nil
}

// sectorOf returns n bytes at an offset, zeros past the end.
func sectorOf(data []byte, at, n int) []byte {
	out := make([]byte, n)
	if at < len(data) {
		copy(out, data[at:])
	}
	return out
}

// replayByFsck has e2fsck replay the journal, and checks that there is nothing
// else to repair. It returns nil if the superblock is torn: e2fsck then goes on
// from an old backup, rather than from the copy in the journal.
func replayByFsck(t testing.TB, cut *blocktest.Memory) *blocktest.Memory {
	t.Helper()
	name := filepath.Join(t.TempDir(), "cut")
	if err := cut.Save(name); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(name)
	out, _ := exec.Command(tool(t, "e2fsck"), "-fy", name).CombinedOutput()
	if strings.Contains(string(out), "Superblock checksum does not match") {
		return nil
	}
	last := ""
	for line := range strings.Lines(string(out)) {
		// Orphans are worked off as after any crash, which leaves their file to
		// be cleared.
		before := last
		if last = line; strings.Contains(before, "Orphan file") || strings.HasPrefix(line, "Journal transaction") {
			// A torn commit block ends the log, which e2fsck calls corrupt.
			continue
		}
		for _, bad := range []string{"Fix?", "Clear?", "corrupt", "Unattached", "ERROR", "damaged", "invalid"} {
			if strings.Contains(line, bad) && !strings.Contains(line, "orphan") {
				t.Fatalf("e2fsck -fy after a cut:\n%s", out)
			}
		}
	}
	if out, err := exec.Command(tool(t, "e2fsck"), "-fn", name).CombinedOutput(); err != nil {
		t.Fatalf("e2fsck -fn after e2fsck -fy: %v\n%s", err, out)
	}
	m, err := blocktest.Load(name, 512)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestCrash cuts the power at random moments.
func TestCrash(t *testing.T) {
	ops, rounds := 160, 2
	if long {
		ops, rounds = 400, 25
	}
	for _, l := range layouts {
		if slices.Contains(l.args, "ext2") || slices.Contains(l.args, "^flex_bg,^has_journal") {
			continue
		}
		t.Run(l.name, func(t *testing.T) {
			base := mkfs(t, "24M", l.tune, l.args...)
			checked, replayed := 0, 0
			for seed := range rounds {
				c := newCrasher(t, base, uint64(seed), 0.12)
				for range ops {
					c.op()
				}
				if err := c.f.Unmount(); err != nil {
					t.Fatal(err)
				}
				c.after(len(c.states) - 1)
				checked, replayed = checked+c.checked, replayed+c.replayed
			}
			t.Logf("%d cuts, %d also replayed by e2fsck", checked, replayed)
			if checked < 10 {
				t.Errorf("only %d cuts", checked)
			}
		})
	}
}
