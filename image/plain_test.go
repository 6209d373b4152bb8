package image

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// fill sets everything in v, of whatever type, to something.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("json") != "-" {
				fill(v.Field(i))
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0))
		fill(v.Index(1))
	case reflect.String:
		v.SetString("a b=/c,1")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int:
		v.SetInt(1<<v.Type().Bits()/2 - 1 + 1<<(v.Type().Bits()-2))
	default:
		v.SetUint(1<<(v.Type().Bits()-1) + 7)
	}
}

// TestDecodePlainAll: every member of what Kiln writes is known, whatever
// somebody adds to it.
func TestDecodePlainAll(t *testing.T) {
	for _, want := range []any{new(Manifest), new(RunConfig)} {
		for _, filled := range []bool{false, true} {
			if filled {
				fill(reflect.ValueOf(want).Elem())
			}
			b, err := json.Marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			got := reflect.New(reflect.TypeOf(want).Elem()).Interface()
			if !DecodePlain(b, got) {
				t.Errorf("DecodePlain(%s) = false", b)
			} else if !reflect.DeepEqual(got, want) {
				t.Errorf("DecodePlain(%s) = %+v, want %+v", b, got, want)
			}
		}
	}
}

func TestDecodePlain(t *testing.T) {
	for _, tt := range []struct {
		in string
		ok bool
	}{
		{"{}", true},
		{" { \"rows\" : 1 ,\n\t\"args\" : [ \"a\" , null ] }\r\n", true},
		{`{"args":[],"network":null}`, true},
		{`{"rows":65535}`, true},
		{`{"processes":18446744073709551615}`, true},
		{"null", true},
		{"", false},
		{`{"rows":65536}`, false},
		{`{"processes":18446744073709551616}`, false},
		{`{"rows":01}`, false},
		{`{"rows":-1}`, false},
		{`{"rows":1.5}`, false},
		{`{"rows":}`, false},
		{`{"rows":1,"rows":2}`, false},
		{`{"Rows":1}`, false},
		{`{"":1}`, false},
		{`{"rc":[]}`, false},
		{`{"env":{"A":"b"}}`, false},
		{`{"cwd":"a\u002fb"}`, false},
		{`{"cwd":"ä"}`, false},
		{`{"cwd":"a`, false},
		{`{"cwd":"a"`, false},
		{`{"args":["a"`, false},
		{`{"args":["a",]}`, false},
		{`{"stdin":tru}`, false},
		{`{} {}`, false},
	} {
		var got, want RunConfig
		ok := DecodePlain([]byte(tt.in), &got)
		if ok != tt.ok {
			t.Errorf("DecodePlain(%q) = %v, want %v", tt.in, ok, tt.ok)
		}
		if !ok {
			continue
		}
		if err := json.Unmarshal([]byte(tt.in), &want); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("DecodePlain(%q) = %+v, want %+v, %v", tt.in, got, want, err)
		}
	}
}

// FuzzDecodePlain: what is decoded is what encoding/json makes of it.
func FuzzDecodePlain(f *testing.F) {
	m := Manifest{Program: "/bin/p", Args: []string{"p"}, User: &User{UID: 1, Groups: []uint32{2}}, Mounts: []Mount{{Path: "/d", ReadOnly: true}}}
	r := RunConfig{Commands: []Command{{Program: "/p", Args: []string{"a"}, Mode: "&"}}, Network: []Network{{IPv4: "dhcp", DNS: []string{"::1"}}}, Rows: 25}
	for _, v := range []any{m, r} {
		b, err := json.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Add(strings.Repeat(`{"args":[`, 3))
	f.Fuzz(func(t *testing.T, s string) {
		for _, new := range []func() any{func() any { return new(Manifest) }, func() any { return new(RunConfig) }} {
			got, want := new(), new()
			if !DecodePlain([]byte(s), got) {
				continue
			}
			if err := json.Unmarshal([]byte(s), want); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("DecodePlain(%q) = %+v, want %+v, %v", s, got, want, err)
			}
		}
	})
}
