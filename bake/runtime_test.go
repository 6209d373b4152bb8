package bake

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pyc returns the head of a compiled Python file.
func pyc(flags, mtime, size uint32) string {
	var b bytes.Buffer
	put(&b, []uint32{0x0a0d0da7, flags, mtime, size})
	b.WriteString("code")
	return b.String()
}

// TestAddRuntime adds a Python of the test's own: the library without what no
// program needs, and sources with the time that their compiled form names.
func TestAddRuntime(t *testing.T) {
	dir := t.TempDir()
	const when = 1_600_000_000
	lib := filepath.Join(dir, "lib/python3.99")
	write(t, lib, map[string]string{
		"os.py": "source", "__pycache__/os.cpython-399.pyc": pyc(0, when, 6),
		"old.py": "source", "__pycache__/old.cpython-399.pyc": pyc(0, when-1, 6), // of another time
		"long.py": "source", "__pycache__/long.cpython-399.pyc": pyc(0, when, 7), // of another size
		"hash.py": "source", "__pycache__/hash.cpython-399.pyc": pyc(1, when, 6), // checked by hash
		"cut.py": "source", "__pycache__/cut.cpython-399.pyc": "short",
		"__pycache__/alone.cpython-399.pyc": pyc(0, when, 6),
		"json/__init__.py":                  "x", "test/big.py": "x", "idlelib/x.py": "x", "site-packages/p.py": "x",
		"config-3.99-x86_64/Makefile": "x", "email/test/t.py": "x",
	})
	for _, name := range []string{"os", "old", "long", "hash", "cut"} {
		if err := os.Chtimes(filepath.Join(lib, name+".py"), time.Unix(when, 0), time.Unix(when, 0)); err != nil {
			t.Fatal(err)
		}
	}
	b, said := testBaker(t)
	if err := b.addRuntime(filepath.Join(dir, "bin/python3.99")); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(*said, "\n"), "Python") {
		t.Errorf("bake said %q, want a word about Python", *said)
	}
	for name, pinned := range map[string]bool{
		"os.py": true, "old.py": false, "long.py": false, "hash.py": false, "cut.py": false, "json/__init__.py": false, "email/test/t.py": false,
	} {
		e := b.root.entries[filepath.Join(lib, name)]
		if e == nil || e.pinned != pinned || pinned && e.mtime != when {
			t.Errorf("%s is %+v, want its time %d pinned: %v", name, e, when, pinned)
		}
	}
	for _, name := range []string{"test", "idlelib", "site-packages", "config-3.99-x86_64"} {
		if b.root.lookup(filepath.Join(lib, name)) != nil {
			t.Errorf("%s is in the image", name)
		}
	}
	for _, other := range []string{"bin/python3", "bin/python", "bin/mypython3.99", "bin/python3.99-config", "bin/sh"} {
		b, _ := testBaker(t)
		before := len(b.root.entries)
		if err := b.addRuntime(filepath.Join(dir, other)); err != nil || len(b.root.entries) != before {
			t.Errorf("%s: %d files more, %v, want none: it is no interpreter, or a link to one", other, len(b.root.entries)-before, err)
		}
	}
}

// TestRuntimes adds languages of the test's own, installed under a prefix.
func TestRuntimes(t *testing.T) {
	for program, tt := range map[string]struct{ files, left []string }{
		"bin/ruby3.9": {
			[]string{"lib/ruby/3.9.0/set.rb", "lib/ruby/vendor_ruby/x.rb", "lib/ruby/gems/3.9.0/gems/rexml-3.2/lib/rexml.rb"},
			[]string{"lib/ruby/gems/3.9.0/gems/rbs-2.8/x.rb"},
		},
		"bin/java": {
			[]string{"lib/modules", "lib/server/libjvm.so", "conf/security/java.security", "release"},
			[]string{"lib/src.zip", "lib/ct.sym", "jmods/java.base.jmod", "lib/server/classes_nocoops.jsa"},
		},
		"bin/erl": {
			[]string{"bin/start.boot", "erts-13.1/bin/erlexec", "lib/stdlib-4.2/ebin/lists.beam", "releases/25/start.script"},
			[]string{"lib/stdlib-4.2/src/lists.erl", "lib/kernel-8.5/include/file.hrl"},
		},
		"bin/postgres": {
			[]string{"bin/postgres", "lib/dict_snowball.so", "share/timezonesets/Default"},
			[]string{"lib/bitcode/x.bc", "lib/llvmjit.so", "bin/other"},
		},
	} {
		dir := t.TempDir()
		all := map[string]string{}
		for _, f := range append(tt.files, tt.left...) {
			all[f] = "x"
		}
		write(t, dir, all)
		b, _ := testBaker(t)
		if err := b.addRuntime(filepath.Join(dir, program)); err != nil {
			t.Errorf("%s: %v", program, err)
			continue
		}
		for _, f := range tt.files {
			if b.root.hostFile(filepath.Join(dir, f)) == "" {
				t.Errorf("%s: the image has no %s", program, f)
			}
		}
		for _, f := range tt.left {
			if b.root.hostFile(filepath.Join(dir, f)) != "" {
				t.Errorf("%s: the image has %s", program, f)
			}
		}
	}
}

func TestReadPyc(t *testing.T) {
	p := filepath.Join(t.TempDir(), "x.pyc")
	for name, tt := range map[string]struct {
		content string
		ok      bool
	}{
		"by time": {pyc(0, 7, 8), true}, "by hash": {pyc(3, 7, 8), false}, "empty": {"", false}, "short": {pyc(0, 7, 8)[:15], false}, "bare": {pyc(0, 7, 8)[:16], true},
	} {
		writeBytes(t, p, []byte(tt.content))
		mtime, size, ok, err := readPyc(p)
		if ok != tt.ok || err != nil || ok && (mtime != 7 || size != 8) {
			t.Errorf("%s: readPyc = %d, %d, %v, %v", name, mtime, size, ok, err)
		}
	}
	if _, _, _, err := readPyc(p + ".none"); !isInputError(err) {
		t.Errorf("readPyc of no file = %v, want an input error", err)
	}
}
