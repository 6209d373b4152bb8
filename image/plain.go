package image

import "math"

// DecodePlain decodes JSON into v, a *Manifest or *RunConfig, as encoding/json
// does, if the JSON is as plain as what Kiln itself nearly always writes:
// objects with known members, no member twice, strings of ASCII without
// escapes, numbers without sign, point or exponent. Else it reports false, v
// is of no use, and encoding/json is to be asked, which also says what is
// wrong with it.
//
// It is there for the guest: encoding/json is a lot of code to run once, which
// costs a boot under TCG about 10 ms.
func DecodePlain(b []byte, v any) bool {
	p := plain{b}
	if !p.value(v) {
		return false
	}
	p.space()
	return len(p.rest) == 0
}

// plain reads what DecodePlain takes.
type plain struct{ rest []byte }

// A member is one of an object, and where it goes. Once it was read, it has no
// name any more.
type member struct {
	name string
	to   any
}

// value reads a value into what to points to.
func (p *plain) value(to any) (ok bool) {
	p.space()
	if p.word("null") {
		return true
	}
	var n uint64
	switch to := to.(type) {
	case *string:
		*to, ok = p.text()
	case *bool:
		*to = p.word("true")
		ok = *to || p.word("false")
	case *int:
		n, ok = p.number(math.MaxInt)
		*to = int(n)
	case *uint16:
		n, ok = p.number(math.MaxUint16)
		*to = uint16(n)
	case *uint32:
		n, ok = p.number(math.MaxUint32)
		*to = uint32(n)
	case *uint64:
		*to, ok = p.number(math.MaxUint64)
	case *[]string:
		ok = list(p, to)
	case *[]uint32:
		ok = list(p, to)
	case *[]Network:
		ok = list(p, to)
	case *[]Mount:
		ok = list(p, to)
	case *[]Command:
		ok = list(p, to)
	case *[]Pipe:
		ok = list(p, to)
	case **Health:
		*to = new(Health)
		ok = p.object((*to).members())
	case **User:
		*to = new(User)
		ok = p.object((*to).members())
	case interface{ members() []member }:
		ok = p.object(to.members())
	}
	return ok
}

// list reads an array.
func list[T any](p *plain, to *[]T) bool {
	if !p.next('[') {
		return false
	}
	*to = []T{}
	if p.next(']') {
		return true
	}
	for {
		var v T
		if !p.value(&v) {
			return false
		}
		*to = append(*to, v)
		if p.next(']') {
			return true
		}
		if !p.next(',') {
			return false
		}
	}
}

// object reads an object with some of the members.
func (p *plain) object(members []member) bool {
	if !p.next('{') {
		return false
	}
	if p.next('}') {
		return true
	}
	for {
		p.space()
		name, ok := p.text()
		if !ok || !p.next(':') {
			return false
		}
		i := 0
		for i < len(members) && (members[i].name != name || name == "") {
			i++
		}
		if i == len(members) || !p.value(members[i].to) {
			return false
		}
		members[i].name = ""
		if p.next('}') {
			return true
		}
		if !p.next(',') {
			return false
		}
	}
}

// space passes over white space.
func (p *plain) space() {
	for len(p.rest) > 0 && (p.rest[0] == ' ' || p.rest[0] == '\n' || p.rest[0] == '\t' || p.rest[0] == '\r') {
		p.rest = p.rest[1:]
	}
}

// next passes over c, and white space before it, if that comes next.
func (p *plain) next(c byte) bool {
	p.space()
	if len(p.rest) == 0 || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// word passes over w if that comes next.
func (p *plain) word(w string) bool {
	if len(p.rest) < len(w) || string(p.rest[:len(w)]) != w {
		return false
	}
	p.rest = p.rest[len(w):]
	return true
}

// text reads a string.
func (p *plain) text() (string, bool) {
	for i, c := range p.rest {
		switch {
		case i == 0 && c != '"', c < ' ', c == '\\', c >= 0x80:
			return "", false
		case i > 0 && c == '"':
			s := string(p.rest[1:i])
			p.rest = p.rest[i+1:]
			return s, true
		}
	}
	return "", false
}

// number reads a number of at most limit.
func (p *plain) number(limit uint64) (n uint64, ok bool) {
	digits := 0
	for ; digits < len(p.rest) && '0' <= p.rest[digits] && p.rest[digits] <= '9'; digits++ {
		d := uint64(p.rest[digits] - '0')
		if n > (limit-d)/10 || digits == 1 && n == 0 { // a leading 0 is none of JSON's
			return 0, false
		}
		n = n*10 + d
	}
	p.rest = p.rest[digits:]
	return n, digits > 0
}

func (m *Manifest) members() []member {
	return []member{
		{"version", &m.Version}, {"config", &m.Config}, {"program", &m.Program}, {"programs", &m.Programs},
		{"args", &m.Args}, {"fixedArgs", &m.FixedArgs}, {"replaceProgram", &m.ReplaceProgram}, {"env", &m.Env}, {"user", &m.User}, {"cwd", &m.Cwd},
		{"hostname", &m.Hostname}, {"stopSignal", &m.StopSignal}, {"memory", &m.Memory},
		{"network", &m.Network}, {"ports", &m.Ports}, {"exposed", &m.Exposed}, {"mounts", &m.Mounts},
		{"pipes", &m.Pipes}, {"health", &m.Health}, {"labels", &m.Labels},
	}
}

func (p *Pipe) members() []member {
	return []member{{"path", &p.Path}, {"mode", &p.Mode}, {"uid", &p.UID}, {"gid", &p.GID}}
}

func (h *Health) members() []member {
	return []member{
		{"test", &h.Test}, {"interval", &h.Interval}, {"timeout", &h.Timeout}, {"startPeriod", &h.StartPeriod}, {"retries", &h.Retries},
	}
}

func (u *User) members() []member {
	return []member{{"uid", &u.UID}, {"gid", &u.GID}, {"groups", &u.Groups}}
}

func (n *Network) members() []member {
	return []member{
		{"name", &n.Name}, {"ipv4", &n.IPv4}, {"address", &n.Address}, {"gateway", &n.Gateway},
		{"ipv6", &n.IPv6}, {"address6", &n.Addr6}, {"gateway6", &n.Gate6}, {"dns", &n.DNS},
	}
}

func (m *Mount) members() []member {
	return []member{
		{"device", &m.Device}, {"tag", &m.Tag}, {"path", &m.Path}, {"type", &m.Type}, {"readOnly", &m.ReadOnly},
		{"source", &m.Source}, {"uid", &m.UID}, {"gid", &m.GID}, {"size", &m.Size},
	}
}

func (c *Command) members() []member {
	return []member{{"program", &c.Program}, {"args", &c.Args}, {"mode", &c.Mode}}
}

func (r *RunConfig) members() []member {
	return []member{
		{"args", &r.Args}, {"commands", &r.Commands}, {"env", &r.Env}, {"cwd", &r.Cwd}, {"hostname", &r.Hostname},
		{"interactive", &r.Interactive}, {"stdin", &r.Stdin}, {"rows", &r.Rows}, {"cols", &r.Cols},
		{"verbose", &r.Verbose}, {"processes", &r.Processes}, {"strace", &r.Strace}, {"faults", &r.Faults}, {"network", &r.Network}, {"mounts", &r.Mounts},
		{"stopTimeout", &r.StopTimeout},
	}
}
