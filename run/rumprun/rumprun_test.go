package rumprun

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"kiln/run"
)

// isInput reports whether err is what a user sees for bad input.
func isInput(err error) bool {
	e, ok := errors.AsType[*run.Error](err)
	return ok && e.Code == run.ExitUsage && e.Msg != "" && !strings.Contains(e.Msg, "\n")
}

func TestParseTranscript(t *testing.T) {
	// The notes' two commands, as a shell splits them.
	c, err := Parse([]string{"kvm", "-i", "testrump.bin"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Platform != KVM || c.App != "testrump.bin" || !c.Options.Interactive || c.Options.Accel != run.AccelKVM ||
		c.Options.Network.Net != "none" || len(c.Options.Args) != 0 {
		t.Errorf("Parse(kvm -i testrump.bin) = %+v", c)
	}
	c, err = Parse([]string{
		"qemu", "-i", "-M", "256", "-I", "if,vioif,-net tap,script=no,ifname=tap0",
		"-W", "if,inet,static,10.0.120.100/24", "-b", "images/data.iso,/data", "-b", "images/datapers.img,/backup",
		"--", "bin/redis-server.bin", "/data/conf/redisaof.conf",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := run.Options{
		Command: "rumprun", StopTimeout: run.DefaultStopTimeout, Accel: run.AccelQEMU, Memory: 256, Interactive: true,
		Args:  []string{"/data/conf/redisaof.conf"},
		Disks: []string{"images/data.iso,/data", "images/datapers.img,/backup"},
		Network: run.Networking{
			Interfaces: []string{"if,vioif,-net tap,script=no,ifname=tap0"},
			Addresses:  []string{"if,inet,static,10.0.120.100/24"},
		},
	}
	if c.App != "bin/redis-server.bin" || !reflect.DeepEqual(c.Options, want) {
		t.Errorf("Parse = %s, %+v, want bin/redis-server.bin, %+v", c.App, c.Options, want)
	}
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		in    string // words
		check func(c *Command) bool
	}{
		{"-h", func(c *Command) bool { return c.Help }},
		{"-D -T /x kvm app", func(c *Command) bool { return c.Dump && c.Dir == "/x" && c.KeepDir && !c.Options.Interactive }},
		{"-DT/x kvm app", func(c *Command) bool { return c.Dump && c.Dir == "/x" && c.KeepDir }},
		{"-t /x kvm app", func(c *Command) bool { return c.Dir == "/x" && !c.KeepDir }},
		{"-S kvm app", func(c *Command) bool { return len(c.Notes) == 1 }},
		{"kvm -dip app", func(c *Command) bool { return c.Options.Interactive && c.Options.Paused && len(c.Notes) == 2 }},
		{"kvm -ipD 1234 app", func(c *Command) bool { return c.Options.Paused && c.Options.GDB == "1234" && len(c.Notes) == 0 }},
		{"kvm -M128 app", func(c *Command) bool { return c.Options.Memory == 128 }},
		{"kvm -M 128M app", func(c *Command) bool { return c.Options.Memory == 128 }},
		{"kvm -e A=b -e C app", func(c *Command) bool { return reflect.DeepEqual(c.Options.Env, []string{"A=b", "C="}) }},
		{"kvm -N a,b app", func(c *Command) bool {
			return c.Options.Hostname == "a,b" && reflect.DeepEqual(c.Options.QEMU, []string{"-name", "a,,b"})
		}},
		{"iso -N x -I if,vioif -W if,inet,dhcp -e A=b app y", func(c *Command) bool {
			return c.Platform == ISO && c.Options.Hostname == "x" && len(c.Options.QEMU) == 0 && len(c.Options.Network.Addresses) == 1
		}},
		{"kvm app -i -- x", func(c *Command) bool {
			return !c.Options.Interactive && reflect.DeepEqual(c.Options.Args, []string{"-i", "--", "x"})
		}},
		{"kvm app -- -i", func(c *Command) bool { return reflect.DeepEqual(c.Options.Args, []string{"-i"}) }},
		{"kvm -- app -- -i", func(c *Command) bool { return reflect.DeepEqual(c.Options.Args, []string{"-i"}) }},
		{"kvm -n inet,dhcp -n inet6,auto app", func(c *Command) bool {
			return reflect.DeepEqual(c.Options.Network, run.Networking{
				Interfaces: []string{"_net0,vioif,-net user", "_net1,vioif,-net user"},
				Addresses:  []string{"_net0,inet,dhcp", "_net1,inet6,auto"},
			})
		}},
	} {
		c, err := Parse(strings.Fields(tt.in))
		if err != nil || !tt.check(c) {
			t.Errorf("Parse(%s) = %+v, %v", tt.in, c, err)
		}
	}
	c, err := Parse([]string{"kvm", "-g", " -vga none  -nographic", "app"})
	if err != nil || !reflect.DeepEqual(c.Options.QEMU, []string{"-vga", "none", "-nographic"}) {
		t.Errorf("arguments of -g = %q, %v", c.Options.QEMU, err)
	}
}

func TestParseErrors(t *testing.T) {
	for in, words := range map[string]string{
		"":                              "platform",
		"vmware app":                    "vmware",
		"iso":                           "application",
		"iso -i app":                    "console",
		"iso -b x.img app":              "--add",
		"iso -M 5 app":                  "memory",
		"xen -i app":                    "Xen",
		"ec2 app":                       "EC2",
		"kvm":                           "application",
		"kvm -i --":                     "application",
		"-x kvm app":                    "-x",
		"-i kvm app":                    "behind the platform",
		"kvm -T x app":                  "before the platform",
		"kvm -M":                        "-M",
		"kvm -M lots app":               "lots",
		"kvm -M 0 app":                  "-M 0",
		"kvm -D x app":                  "-D x",
		"kvm -D 70000 app":              "70000",
		"kvm -e =x app":                 "=x",
		"kvm -I if,e1000 app":           "e1000",
		"kvm -I , app":                  "name of an interface",
		"kvm -W if,inet,dhcp app":       "no interface",
		"kvm -I if -W if,inet app":      "-W if,inet",
		"kvm -I if -n inet,dhcp app":    "exclude",
		"kvm -n inet,dhcp -I if app":    "exclude",
		"kvm -n inet,static,1.2 app":    "1.2",
		"kvm -I if -W if,ipx,dhcp6 app": "ipx",
	} {
		c, err := Parse(strings.Fields(in))
		if !isInput(err) || !strings.Contains(err.Error(), words) {
			t.Errorf("Parse(%s) = %+v, %v, want an input error with %q", in, c, err, words)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("-D\x00kvm\x00-i\x00-M64\x00app\x00--\x00x")
	f.Add("qemu\x00-I\x00if,vioif,-net tap\x00-W\x00if,inet,dhcp\x00app")
	f.Fuzz(func(t *testing.T, joined string) {
		c, err := Parse(strings.Split(joined, "\x00"))
		if err != nil && !isInput(err) {
			t.Errorf("Parse(%q) = %v, want an input error", joined, err)
		}
		if err == nil && !c.Help && c.Platform != KVM && c.Platform != QEMU && c.Platform != ISO {
			t.Errorf("Parse(%q) = platform %q", joined, c.Platform)
		}
	})
}
