package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"kiln/image/bootinfo"
)

// TestAddressPages compares the maps of the address space in the documents
// with the code.
func TestAddressPages(t *testing.T) {
	for _, page := range []string{"memory.md", "architecture.md"} {
		b, err := os.ReadFile("../../docs/" + page)
		if err != nil {
			t.Fatal(err)
		}
		for name, addr := range map[string]uint64{
			"direct map": directMapBase, "mmap": mmapBase, "memory files": memfdBase, "device registers": mmioBase,
			"stacks": stackBase, "metal": bootinfo.MetalBase, "kernel program": bootinfo.KernelBase,
		} {
			line := fmt.Sprintf("\n0x%08x_%08x  %s", addr>>32, addr&0xffffffff, name)
			if !strings.Contains(string(b), line) {
				t.Errorf("%s has no line %q", page, line[1:])
			}
		}
	}
}

// TestPackagesPage compares the list of metal's packages in the documents with
// the folders.
func TestPackagesPage(t *testing.T) {
	b, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(b), "\n### Inside metal\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var listed, want []string
	for _, row := range strings.Split(section, "\n") {
		if cells := strings.Split(row, "|"); len(cells) == 5 && !strings.Contains(cells[1], "kernel/metal") {
			for _, m := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(cells[1], -1) {
				listed = append(listed, m[1])
			}
		}
	}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && e.Name() != "testdata" {
			want = append(want, e.Name())
		}
	}
	slices.Sort(listed)
	if !slices.Equal(listed, want) {
		t.Errorf("architecture.md lists the packages %v, the folders are %v", listed, want)
	}
}

// TestHostcallsPage compares the list of calls in docs/hostcalls.md with those
// that dispatch has a case for.
func TestHostcallsPage(t *testing.T) {
	b, err := os.ReadFile("../../docs/hostcalls.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(b), "\n## Every call that metal answers\n")
	section, _, _ = strings.Cut(section, "\n## ")
	table, private, _ := strings.Cut(section, "\nThe private calls")
	name := regexp.MustCompile("`(\\w+)`")
	var listed []string
	for _, row := range strings.Split(table, "\n") {
		if cells := strings.Split(row, "|"); len(cells) == 4 {
			for _, m := range name.FindAllStringSubmatch(cells[1], -1) {
				listed = append(listed, m[1])
			}
		}
	}
	for _, m := range name.FindAllStringSubmatch(private, -1) {
		listed = append(listed, m[1])
	}
	want := append(dispatched(t), "EnterUser")
	slices.Sort(listed)
	slices.Sort(want)
	if len(want) < 100 || len(slices.Compact(slices.Clone(listed))) != len(listed) {
		t.Errorf("%d calls found in the code, %d in the page, some of these twice", len(want), len(listed))
	}
	for _, call := range want {
		if !slices.Contains(listed, call) {
			t.Errorf("hostcalls.md does not list %s", call)
		}
	}
	for _, call := range listed {
		if !slices.Contains(want, call) {
			t.Errorf("hostcalls.md lists %s, which metal does not answer", call)
		}
	}
}

// dispatched returns the calls that dispatch has a case for: Linux's in lower
// case, private ones without the prefix.
func dispatched(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "hostcall.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var calls []string
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Name.Name != "dispatch" {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			clause, ok := n.(*ast.CaseClause)
			if !ok {
				return true
			}
			for _, e := range clause.List {
				switch s := e.(*ast.SelectorExpr); fmt.Sprint(s.X) {
				case "linux":
					calls = append(calls, strings.ToLower(strings.TrimPrefix(s.Sel.Name, "SYS_")))
				case "abi":
					calls = append(calls, strings.TrimPrefix(s.Sel.Name, "Sys"))
				}
			}
			return true
		})
	}
	return calls
}
