package image

import (
	"encoding/json"
	"reflect"
	"strings"
	"unicode/utf8"
)

// Arguments, variables and file names are bytes on Linux, any but NUL, and JSON
// has only characters. So in the JSON of this package a byte that is no part of
// valid UTF-8 is two characters: U+0000, and the one with the byte's number.
// "caf\xe9" is "caf\u0000\u00e9".

// escapeBytes returns s with its bytes that are no UTF-8 as characters.
func escapeBytes(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && size == 1 {
			b.WriteByte(0)
			r = rune(s[0])
		}
		b.WriteRune(r)
		s = s[size:]
	}
	return b.String()
}

// unescapeBytes undoes escapeBytes. A U+0000 before another character than
// escapeBytes puts there is left as it is.
func unescapeBytes(s string) string {
	if !strings.Contains(s, "\x00") {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		before, after, _ := strings.Cut(s, "\x00")
		b.WriteString(before)
		if len(before) == len(s) {
			break
		}
		s = after
		if r, size := utf8.DecodeRuneInString(after); utf8.RuneSelf <= r && r <= 0xff {
			b.WriteByte(byte(r))
			s = after[size:]
		} else {
			b.WriteByte(0)
		}
	}
	return b.String()
}

// replaceStrings replaces each string in v, which can be set, by what f makes
// of it. Slices and what pointers point to are copied before: they may be
// somebody else's. Fields that are not in the JSON are left alone.
func replaceStrings(v reflect.Value, f func(string) string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(f(v.String()))
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.IsExported() && field.Tag.Get("json") != "-" {
				replaceStrings(v.Field(i), f)
			}
		}
	case reflect.Slice:
		if v.IsNil() {
			return
		}
		own := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(own, v)
		for i := range own.Len() {
			replaceStrings(own.Index(i), f)
		}
		v.Set(own)
	case reflect.Pointer:
		if v.IsNil() {
			return
		}
		own := reflect.New(v.Type().Elem())
		own.Elem().Set(v.Elem())
		replaceStrings(own.Elem(), f)
		v.Set(own)
	}
}

// The types that are stored as JSON: a type of the same fields, without the
// methods, is what encoding/json gets.
type (
	plainManifest  Manifest
	plainFile      File
	plainRunConfig RunConfig
)

// MarshalBytes returns the JSON of what v points to, whose strings it replaces:
// they may be any bytes.
func MarshalBytes(v any) ([]byte, error) {
	replaceStrings(reflect.ValueOf(v).Elem(), escapeBytes)
	return json.Marshal(v)
}

// UnmarshalBytes decodes JSON of MarshalBytes into what v points to.
func UnmarshalBytes(b []byte, v any) error {
	if err := json.Unmarshal(b, v); err != nil {
		return err
	}
	replaceStrings(reflect.ValueOf(v).Elem(), unescapeBytes)
	return nil
}

// MarshalJSON implements json.Marshaler.
func (m Manifest) MarshalJSON() ([]byte, error) { return MarshalBytes((*plainManifest)(&m)) }

// UnmarshalJSON implements json.Unmarshaler.
func (m *Manifest) UnmarshalJSON(b []byte) error { return UnmarshalBytes(b, (*plainManifest)(m)) }

// MarshalJSON implements json.Marshaler.
func (f File) MarshalJSON() ([]byte, error) { return MarshalBytes((*plainFile)(&f)) }

// UnmarshalJSON implements json.Unmarshaler.
func (f *File) UnmarshalJSON(b []byte) error { return UnmarshalBytes(b, (*plainFile)(f)) }

// MarshalJSON implements json.Marshaler.
func (r RunConfig) MarshalJSON() ([]byte, error) { return MarshalBytes((*plainRunConfig)(&r)) }

// UnmarshalJSON implements json.Unmarshaler.
func (r *RunConfig) UnmarshalJSON(b []byte) error { return UnmarshalBytes(b, (*plainRunConfig)(r)) }
