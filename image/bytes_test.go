package image

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// oddStrings are strings as a command line may have them.
var oddStrings = []string{
	"", "plain", "café", "caf\xe9", "\xff\xfe", "\xc3", "a\xc3\x28b", "\xed\xa0\x80", "\ufffd", "\xf4\x90\x80\x80", "é\x80é", "\u0080",
}

func TestBytesInJSON(t *testing.T) {
	m := Manifest{
		Version: ManifestVersion, Program: "/bin/caf\xe9", Args: oddStrings, Env: []string{"A=\xff"}, Cwd: "/\xfe", Hostname: "h\xe9",
		Mounts: []Mount{{Device: "vda", Path: "/caf\xe9"}}, User: &User{UID: 1},
	}
	r := RunConfig{Args: oddStrings, Env: []string{"A=\xff"}, Commands: []Command{{Program: "/\xe9", Args: oddStrings}}}
	f := File{Path: "/caf\xe9", Link: "\xff"}
	for _, tt := range []struct{ in, out any }{{m, new(Manifest)}, {r, new(RunConfig)}, {f, new(File)}} {
		b, err := json.Marshal(tt.in)
		if err != nil {
			t.Fatal(err)
		}
		if !utf8.Valid(b) {
			t.Errorf("%s is not UTF-8", b)
		}
		if err := json.Unmarshal(b, tt.out); err != nil {
			t.Fatal(err)
		}
		if got := reflect.ValueOf(tt.out).Elem().Interface(); !reflect.DeepEqual(got, tt.in) {
			t.Errorf("%#v came back as %#v", tt.in, got)
		}
	}
	if m.Args[3] != "caf\xe9" || r.Commands[0].Program != "/\xe9" {
		t.Error("marshalling has changed the original")
	}
}

func FuzzEscapeBytes(f *testing.F) {
	for _, s := range oddStrings {
		f.Add(s)
	}
	f.Add("\x00\u00e9")
	f.Fuzz(func(t *testing.T, s string) {
		unescapeBytes(s) // of any text
		if strings.Contains(s, "\x00") {
			return // neither an argument nor a path
		}
		e := escapeBytes(s)
		if !utf8.ValidString(e) {
			t.Errorf("%q escaped is %q, no UTF-8", s, e)
		}
		if got := unescapeBytes(e); got != s {
			t.Errorf("%q escaped and back is %q", s, got)
		}
	})
}
