package bake

import (
	"path/filepath"
	"strings"
	"testing"
	"unicode"
)

func TestParseScript(t *testing.T) {
	for _, tt := range []struct {
		line, interp, arg string
		ok                bool
	}{
		{"#!/bin/sh\n", "/bin/sh", "", true},
		{"#! /bin/sh -e\n", "/bin/sh", "-e", true},
		{"#!\t/bin/sh \t -x -y \n", "/bin/sh", "-x -y", true}, // one argument, as Linux passes it
		{"#!/usr/bin/env python3\n", "/usr/bin/env", "python3", true},
		{"#!/bin/sh\r\n", "/bin/sh", "", true},
		{"#!/bin/sh", "/bin/sh", "", true},
		{"#!", "", "", false},
		{"#!\n", "", "", false},
		{"#! \t\n", "", "", false},
		{" #!/bin/sh\n", "", "", false},
		{"#/bin/sh\n", "", "", false},
		{"", "", "", false},
	} {
		interp, arg, ok := parseScript(tt.line)
		if ok != tt.ok || ok && (interp != tt.interp || arg != tt.arg) {
			t.Errorf("parseScript(%q) = %q, %q, %v, want %q, %q, %v", tt.line, interp, arg, ok, tt.interp, tt.arg, tt.ok)
		}
	}
}

func TestFirstLine(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat("x", maxScriptLine)
	for content, want := range map[string]string{
		"one\ntwo\n": "one\n", "": "", "no end": "no end", "\n": "\n", long + "more\n": long,
	} {
		p := filepath.Join(dir, "f")
		writeBytes(t, p, []byte(content))
		if got, err := firstLine(p); err != nil || got != want {
			t.Errorf("firstLine of %.20q = %.20q, %v, want %.20q", content, got, err, want)
		}
	}
	if _, err := firstLine(filepath.Join(dir, "none")); !isInputError(err) {
		t.Errorf("firstLine of no file = %v, want an input error", err)
	}
}

// TestScriptNeeds bakes scripts from a folder laid out as a root, up to their
// interpreters.
func TestScriptNeeds(t *testing.T) {
	dir := t.TempDir()
	elfFile{}.write(t, filepath.Join(dir, "opt/kiln-interp"))
	elfFile{}.write(t, filepath.Join(dir, "usr/bin/kiln-named"))
	elfFile{}.write(t, filepath.Join(dir, "usr/bin/env"))
	for name, tt := range map[string]struct {
		text string
		want string // what the error says; "" for none
	}{
		"plain":            {"#!/opt/kiln-interp -x\n", ""},
		"through env":      {"#!/usr/bin/env kiln-named\n", ""},
		"env -S":           {"#!/usr/bin/env -S kiln-named -u\n", ""},
		"env by path":      {"#!/usr/bin/env /opt/kiln-interp\n", ""},
		"env with a value": {"#!/usr/bin/env A=1 kiln-named\n", ""}, // env's own affair
		"missing":          {"#!/opt/kiln-none\n", "interpreter /opt/kiln-none"},
		"missing name":     {"#!/usr/bin/env kiln-none\n", "interpreter kiln-none"},
		"relative":         {"#!kiln-interp\n", "interpreter kiln-interp"},
		"no script":        {"echo hello\n", "neither an ELF file nor a script"},
		"empty":            {"", "neither an ELF file nor a script"},
	} {
		writeBytes(t, filepath.Join(dir, "bin/script"), []byte(tt.text))
		b, m, err := fill(Options{Root: dir, Program: "/bin/script"})
		if tt.want != "" {
			if !isInputError(err) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v, want an input error with %q", name, err, tt.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if m.Program != "/bin/script" || b.root.hostFile(m.Program) != filepath.Join(dir, "bin/script") {
			t.Errorf("%s: the program is %s", name, m.Program)
		}
	}
}

// TestScriptsInTree adds a folder: scripts that can be executed bring their
// interpreters, others are data, and what is missing is said.
func TestScriptsInTree(t *testing.T) {
	dir := t.TempDir()
	app := elfFile{}.write(t, filepath.Join(dir, "app"))
	interp := elfFile{}.write(t, filepath.Join(dir, "interp"))
	writeBytes(t, filepath.Join(dir, "tree/runs"), []byte("#!"+interp+"\n"))
	writeBytes(t, filepath.Join(dir, "tree/lacks"), []byte("#!/opt/kiln-none\n"))
	var said []string
	b, _, err := fill(Options{Program: app, Add: []string{filepath.Join(dir, "tree") + ":/tree"}, Progress: func(s string) { said = append(said, s) }})
	if err != nil {
		t.Fatal(err)
	}
	if b.root.lookup(interp) == nil {
		t.Errorf("the interpreter %s did not come along", interp)
	}
	if all := strings.Join(said, "\n"); !strings.Contains(all, "/opt/kiln-none") {
		t.Errorf("bake said %q, want a warning about /opt/kiln-none", said)
	}
}

func FuzzParseScript(f *testing.F) {
	f.Add("#!/bin/sh -e\n")
	f.Add("#! \t/usr/bin/env  python3\r\n")
	f.Add("#!")
	f.Fuzz(func(t *testing.T, line string) {
		interp, arg, ok := parseScript(line)
		if !ok {
			return
		}
		if interp == "" || strings.ContainsAny(interp, " \t") || strings.TrimLeft(arg, " \t") != arg {
			t.Errorf("parseScript(%q) = %q, %q", line, interp, arg)
		}
		if !strings.HasPrefix(line, "#!") || !strings.Contains(line, interp) || !strings.HasSuffix(strings.TrimRightFunc(line, unicode.IsSpace), strings.TrimRightFunc(arg, unicode.IsSpace)) {
			t.Errorf("parseScript(%q) = %q, %q, which is not in it", line, interp, arg)
		}
	})
}
