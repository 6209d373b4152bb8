// Package rumpconfig reads the JSON that configures a Rumprun unikernel, and
// says what it means for a Kiln image.
//
// Rumprun has had two forms of it, and both are understood, also mixed: the
// one that its launcher writes (cmdline, env as a string, net and blk as flat
// objects, each as often as needed), and the one of its doc/config.md (rc, env
// as an object, net with interfaces and gateways, blk with mount).
package rumpconfig

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"kiln/image"
)

// maxSize bounds a configuration, in bytes.
const maxSize = 1 << 20

// A Config is a configuration, understood.
type Config struct {
	Programs []Program
	Env      []string // KEY=VALUE
	Hostname string
	Networks []image.Network // by interface: vioif0 is the first
	Mounts   []image.Mount
	Notes    []string // what has no effect here, a line each
}

// A Program is one program that the configuration runs.
type Program struct {
	Bin  string   // its name; "" for the image's first
	Args []string // argv
	Mode string   // image.ModeForeground, …
}

// An Error says what is wrong with a configuration.
type Error struct {
	Key string // where, "" if it is no JSON object
	Msg string
}

// Error implements error.
func (e *Error) Error() string {
	if e.Key == "" {
		return "Rumprun configuration: " + e.Msg
	}
	return "Rumprun configuration: " + e.Key + ": " + e.Msg
}

// errorf returns an Error about key.
func errorf(key, format string, args ...any) *Error { return &Error{key, fmt.Sprintf(format, args...)} }

// A member is one member of a JSON object. A key may appear more than once.
type member struct {
	key   string
	value json.RawMessage
}

// Parse reads a configuration. Its errors are of type *Error.
func Parse(b []byte) (*Config, error) {
	members, err := readObject(b)
	if err != nil {
		return nil, err
	}
	c := &Config{}
	p := parser{Config: c}
	for _, m := range members {
		if err := p.member(m); err != nil {
			return nil, err
		}
	}
	return c, p.finish()
}

// Is reports whether b is meant to be a Rumprun configuration: a JSON object
// with a member that Kiln's own run configuration does not have.
func Is(b []byte) bool {
	members, err := readObject(b)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(members, func(m member) bool {
		return slices.Contains([]string{"cmdline", "rc", "net", "blk", "mount"}, m.key)
	})
}

// readObject returns the members of the JSON object that b is, in order.
func readObject(b []byte) ([]member, error) {
	if len(b) > maxSize {
		return nil, errorf("", "%d bytes are more than the %d that make sense", len(b), maxSize)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	bad := func(err error) error { return errorf("", "line %d: %s", line(b, d, err), reason(err)) }
	switch first, err := d.Token(); {
	case err != nil:
		return nil, bad(err)
	case first != json.Delim('{'):
		return nil, errorf("", "it is no JSON object")
	}
	var members []member
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, bad(err)
		}
		m := member{key: fmt.Sprint(key)}
		if err := d.Decode(&m.value); err != nil {
			return nil, bad(err)
		}
		members = append(members, m)
	}
	if _, err := d.Token(); err != nil {
		return nil, bad(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errorf("", "line %d: something follows the object", line(b, d, err))
	}
	return members, nil
}

// line returns the line of b where d stopped with err.
func line(b []byte, d *json.Decoder, err error) int {
	off := d.InputOffset()
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		off = max(off, syntax.Offset)
	}
	return 1 + bytes.Count(b[:min(off, int64(len(b)))], []byte("\n"))
}

// reason says in a user's words what a JSON decoder found.
func reason(err error) string {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "the JSON ends too early"
	}
	return err.Error()
}

// decode reads value strictly: what v does not have is an error.
func decode(key string, value json.RawMessage, v any) error {
	d := json.NewDecoder(bytes.NewReader(value))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return errorf(key, "%s is not what belongs at %q", kind.Value, kind.Field)
		}
		return errorf(key, "%s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

// parser puts a configuration together.
type parser struct {
	*Config
	networks networks
	storage  storage
}

// member takes one member of the configuration.
func (p *parser) member(m member) error {
	switch m.key {
	case "cmdline":
		return p.cmdline(m.value)
	case "rc", "rc_TESTING":
		return p.rc(m.value)
	case "env":
		return p.env(m.value)
	case "hostname":
		return decode(m.key, m.value, &p.Hostname)
	case "net":
		return p.networks.read(m.value)
	case "blk":
		return p.storage.readBlock(m.value)
	case "mount":
		return p.storage.readMount(m.value)
	}
	return errorf(m.key, "there is no such key; there are cmdline, rc, env, hostname, net, blk and mount")
}

// finish checks what can be checked only when all is read.
func (p *parser) finish() (err error) {
	if p.Networks, err = p.networks.finish(); err != nil {
		return err
	}
	var notes []string
	p.Mounts, notes, err = p.storage.finish()
	p.Notes = append(p.Notes, notes...)
	return err
}

// env reads "KEY=VALUE", or an object of keys and values.
func (p *parser) env(value json.RawMessage) error {
	var one string
	if json.Unmarshal(value, &one) == nil {
		return p.setEnv(one)
	}
	members, err := readObject(value)
	if err != nil {
		return errorf("env", "neither a string KEY=VALUE nor an object of strings")
	}
	for _, m := range members {
		if err := decode("env: "+m.key, m.value, &one); err != nil {
			return err
		}
		if err := p.setEnv(m.key + "=" + one); err != nil {
			return err
		}
	}
	return nil
}

// setEnv adds one variable. As in Rumprun one without "=" is empty.
func (p *parser) setEnv(s string) error {
	name, _, ok := strings.Cut(s, "=")
	if name == "" || strings.Contains(s, "\x00") {
		return errorf("env", "%q is not KEY=VALUE", s)
	}
	if !ok {
		s += "="
	}
	p.Env = append(p.Env, s)
	return nil
}
