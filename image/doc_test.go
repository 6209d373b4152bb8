package image_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"kiln/image"
	"kiln/image/bootinfo"
	"kiln/image/imagetest"
)

// TestDocumentedHeaders compares the offsets in docs/image.md with those of the
// structures that bake and metal share.
func TestDocumentedHeaders(t *testing.T) {
	for intro, v := range map[string]any{
		"What bake tells metal": bootinfo.Header{},
		"A kernel segment:":     bootinfo.Segment{},
	} {
		typ := reflect.TypeOf(v)
		var got []string
		for _, row := range imagetest.Table(t, intro) {
			got = append(got, strings.Join(row[:3], " "))
		}
		var want []string
		for i := range typ.NumField() {
			f := typ.Field(i)
			width := 2
			if typ.Size() > 0x100 {
				width = 3
			}
			want = append(want, fmt.Sprintf("0x%0*x %d %s", width, f.Offset, f.Type.Size(), f.Name))
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q:\ngot  %q,\nwant %q", intro, got, want)
		}
	}
}

// TestDocumentedJSON compares the names in docs/image.md with the tags of the
// structures, in the same order, and what can be absent.
func TestDocumentedJSON(t *testing.T) {
	for intro, v := range map[string]any{
		"## Manifest":          image.Manifest{},
		"A user:":              image.User{},
		"A named pipe:":        image.Pipe{},
		"A check of health:":   image.Health{},
		"A network interface.": image.Network{},
		"A mount.":             image.Mount{},
		"## List of files":     image.File{},
		"## Run configuration": image.RunConfig{},
		"A command:":           image.Command{},
	} {
		var got []string
		for _, row := range imagetest.Table(t, intro) {
			got = append(got, row[0]+" "+row[1])
		}
		var want []string
		typ := reflect.TypeOf(v)
		for i := range typ.NumField() {
			name, options, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			if name == "-" {
				continue
			}
			kind := kindName(typ.Field(i).Type)
			if options == "omitempty" {
				kind += ", optional"
			}
			want = append(want, name+" "+kind)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q:\ngot  %q,\nwant %q", intro, got, want)
		}
	}
}

// kindName is what the document calls a type.
func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "boolean"
	case reflect.String:
		return "string"
	case reflect.Struct:
		return "object"
	case reflect.Pointer:
		return kindName(t.Elem())
	case reflect.Slice:
		return kindName(t.Elem()) + "s"
	}
	return "number"
}
