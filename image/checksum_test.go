package image

import (
	"bytes"
	"errors"
	"testing"
)

func TestTrailer(t *testing.T) {
	content := bytes.Repeat([]byte("kiln "), 100_000)
	trailer, err := Trailer(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	whole := append(bytes.Clone(content), trailer...)
	check := func(b []byte) error { return checkTrailer(bytes.NewReader(b), int64(len(b))) }
	if err := check(whole); err != nil {
		t.Errorf("checkTrailer of a whole file = %v", err)
	}
	bent := func(off int) []byte {
		b := bytes.Clone(whole)
		b[off] ^= 1
		return b
	}
	for name, b := range map[string][]byte{
		"empty":         nil,
		"short":         whole[:3],
		"cut":           whole[:len(whole)-1],
		"no trailer":    content,
		"first byte":    bent(0),
		"middle":        bent(len(content) / 2),
		"last byte":     bent(len(content) - 1),
		"trailer magic": bent(len(content)),
		"sum":           bent(len(content) + 8),
		"padding":       bent(len(whole) - 1),
		"longer":        append(bytes.Clone(whole), 0),
	} {
		if _, ok := errors.AsType[*FormatError](check(b)); !ok {
			t.Errorf("%s: checkTrailer = %v, want a FormatError", name, check(b))
		}
	}
	// CRC-32C of "123456789" is 0xe3069283 (RFC 3720 §B.4 has the polynomial).
	if got, err := Trailer(bytes.NewReader([]byte("123456789"))); err != nil || string(got) != "KILNSUM\x01\x83\x92\x06\xe3\x00\x00\x00\x00" {
		t.Errorf("Trailer(123456789) = %q, %v", got, err)
	}
}
