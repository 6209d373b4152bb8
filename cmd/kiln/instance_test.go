package main

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"kiln/instance"
)

func TestParseSignal(t *testing.T) {
	for text, want := range map[string]syscall.Signal{
		"HUP": 1, "SIGHUP": 1, "hup": 1, "1": 1, "KILL": 9, "64": 64, "RTMIN": 34, "RTMIN+3": 37, "SIGRTMAX-1": 63, "RTMAX": 64,
	} {
		if got, err := parseSignal(text); got != want || err != nil {
			t.Errorf("parseSignal(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0", "65", "-1", "NONE", "SIG", "RTMIN+31", "RTMIN-1", "RTMAX+1", "RTMIN+x"} {
		if got, err := parseSignal(text); err == nil {
			t.Errorf("parseSignal(%q) = %d, want an error", text, got)
		}
	}
}

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 11, 28, 19, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"":                     {},
		"10m":                  now.Add(-10 * time.Minute),
		"0s":                   now,
		"1795892400":           time.Unix(1795892400, 0),
		"2026-11-28T18:00:00Z": now.Add(-time.Hour),
	} {
		if got, err := parseTime("--since", text, now); !got.Equal(want) || err != nil {
			t.Errorf("parseTime(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"yesterday", "-5", "10 m", "2026-13-01"} {
		if got, err := parseTime("--since", text, now); err == nil {
			t.Errorf("parseTime(%q) = %v, want an error", text, got)
		}
	}
}

func TestPrintInstances(t *testing.T) {
	now := time.Date(2026, 11, 28, 19, 0, 0, 0, time.UTC)
	at := func(d time.Duration) time.Time { return now.Add(-d) }
	list := []*instance.Instance{
		{Config: instance.Config{ID: "aabbccddeeff", Name: "web", Image: "web.img", Program: []string{"/usr/sbin/nginx", "-g", "daemon off;"}, Created: at(3 * time.Minute)},
			State: instance.State{Status: instance.Running, Started: at(2 * time.Minute), Ports: []instance.Port{{Proto: "tcp", HostIP: "127.0.0.1", HostPort: 8080, GuestPort: 80}}}},
		{Config: instance.Config{ID: "001122334455", Name: "job", Image: "job.img", Program: []string{"/job"}, Created: at(2 * time.Hour)},
			State: instance.State{Status: instance.Exited, ExitCode: 3, Finished: at(5 * time.Second)}},
		{Config: instance.Config{ID: "112233445566", Name: "sick", Image: "s.img", Program: []string{"/s"}, Created: at(time.Hour)},
			State: instance.State{Status: instance.Restarting, ExitCode: 1, Finished: at(10 * time.Second)}},
	}
	var b strings.Builder
	if err := printInstances(&b, list, now, false); err != nil {
		t.Fatal(err)
	}
	const want = `INSTANCE ID    IMAGE     COMMAND                  CREATED             STATUS                          PORTS                    NAMES
aabbccddeeff   web.img   "/usr/sbin/nginx -g …"   3 minutes ago       Up 2 minutes                    127.0.0.1:8080->80/tcp   web
001122334455   job.img   "/job"                   2 hours ago         Exited (3) 5 seconds ago                                 job
112233445566   s.img     "/s"                     About an hour ago   Restarting (1) 10 seconds ago                            sick
`
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}
