package run

import (
	"errors"
	"reflect"
	"testing"
)

func TestExposedPorts(t *testing.T) {
	for name, tt := range map[string]struct {
		exposed, published []string
		want               []string // nil: bad input
		notes              int
	}{
		"both protocols":       {[]string{"80/tcp", "53/udp"}, nil, []string{"127.0.0.1:4001:80/tcp", "127.0.0.1:4002:53/udp"}, 2},
		"no protocol":          {[]string{"80"}, nil, []string{"127.0.0.1:4001:80/tcp"}, 1},
		"a range":              {[]string{"80-82/tcp"}, nil, []string{"127.0.0.1:4001:80/tcp", "127.0.0.1:4002:81/tcp", "127.0.0.1:4003:82/tcp"}, 3},
		"published already":    {[]string{"80/tcp", "81/tcp"}, []string{"8080:80"}, []string{"127.0.0.1:4001:81/tcp"}, 1},
		"another protocol":     {[]string{"80/udp"}, []string{"8080:80"}, []string{"127.0.0.1:4001:80/udp"}, 1},
		"twice":                {[]string{"80", "80/tcp"}, nil, []string{"127.0.0.1:4001:80/tcp"}, 1},
		"nothing":              {nil, nil, []string{}, 1},
		"no number":            {[]string{"http/tcp"}, nil, nil, 0},
		"zero":                 {[]string{"0/tcp"}, nil, nil, 0},
		"too large":            {[]string{"65536/tcp"}, nil, nil, 0},
		"another way round":    {[]string{"82-80/tcp"}, nil, nil, 0},
		"an unknown protocol":  {[]string{"80/sctp"}, nil, nil, 0},
		"all that is possible": {[]string{"1-4/tcp", ""}, nil, nil, 0},
	} {
		next := uint16(4000)
		got, notes, err := exposedPorts(tt.exposed, tt.published, func(string) (uint16, error) { next++; return next, nil })
		if tt.want == nil {
			if !isInput(err) {
				t.Errorf("%s: %v, want an input error", name, err)
			}
			continue
		}
		if err != nil || len(notes) != tt.notes || len(got)+len(tt.want) > 0 && !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %q, notes %q, %v, want %q", name, got, notes, err, tt.want)
		}
		for _, p := range got {
			if _, err := ParsePort(p); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	_, _, err := exposedPorts([]string{"80"}, nil, func(string) (uint16, error) { return 0, errors.New("none left") })
	if !isInput(err) {
		t.Errorf("no free port: %v, want an input error", err)
	}
}

func TestFreePort(t *testing.T) {
	for _, proto := range []string{"tcp", "udp"} {
		port, err := freePort(proto)
		if err != nil || port == 0 {
			t.Errorf("freePort(%s) = %d, %v", proto, port, err)
		}
	}
}
