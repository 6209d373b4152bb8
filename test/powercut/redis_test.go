package powercut_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kiln/test/redisclient"
)

// keys is how many keys the test writes to, over and over.
const keys = 400

// store is what must be in the database: for each key the number that was
// acknowledged last, and the one that was sent last.
type store struct {
	acked, sent [keys]int
	next        int
}

func value(key, n int) string { return fmt.Sprintf("%d:%d:%s", key, n, strings.Repeat("v", n%300)) }

// verify asks for all keys and tells what is wrong with them.
func (s *store) verify(c *redisclient.Conn) string {
	for key := range keys {
		if err := c.Send("GET", fmt.Sprint("key", key)); err != nil {
			return err.Error()
		}
	}
	var wrong []string
	for key := range keys {
		got, err := c.Reply()
		if err != nil {
			return err.Error()
		}
		n := 0
		if got != "" {
			if _, n, err = splitValue(got); err != nil || got != value(key, n) {
				wrong = append(wrong, fmt.Sprintf("key %d has %q", key, got))
				continue
			}
		}
		if n < s.acked[key] || n > s.sent[key] {
			wrong = append(wrong, fmt.Sprintf("key %d has number %d; %d was acknowledged, %d sent", key, n, s.acked[key], s.sent[key]))
		}
		s.acked[key], s.sent[key] = n, n // from now on
	}
	return strings.Join(wrong, "; ")
}

func splitValue(v string) (key, n int, err error) {
	_, err = fmt.Sscanf(v, "%d:%d:", &key, &n)
	return key, n, err
}

// write sets keys, several at a time, until the connection ends. Now and then
// it has Redis write its append-only file anew.
func (s *store) write(c *redisclient.Conn) {
	const ahead = 4
	for {
		var batch []int
		for range ahead {
			s.next++
			key := s.next * 7 % keys
			batch = append(batch, key)
			s.sent[key] = s.next
			if c.Send("SET", fmt.Sprint("key", key), value(key, s.next)) != nil {
				return
			}
		}
		for _, key := range batch {
			ok, err := c.Reply()
			if err != nil || ok != "OK" {
				return
			}
			s.acked[key] = s.sent[key]
		}
		if s.next%400 == 0 {
			if c.Send("BGREWRITEAOF") != nil {
				return
			}
			// An error says that it is at it already.
			if _, err := c.Reply(); errors.Is(err, io.EOF) {
				return
			}
		}
	}
}

// freePort returns a port of this machine that nobody has.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// serve boots Redis on the volume and returns a connection.
func (r *rig) serve(image string) (*guest, *redisclient.Conn) {
	r.t.Helper()
	port := freePort(r.t)
	g := r.boot("-M", "128", "-p", fmt.Sprintf("127.0.0.1:%d:6379", port), image)
	var said []string
	limit := time.AfterFunc(bootTime, func() { g.cmd.Process.Kill() })
	defer limit.Stop()
	for line := range g.lines {
		said = append(said, line)
		if strings.Contains(line, "Ready to accept connections") {
			break
		}
	}
	c, err := redisclient.Dial(fmt.Sprintf("127.0.0.1:%d", port), bootTime)
	if err != nil {
		r.t.Fatalf("%v\n%s\n%s", err, strings.Join(said, "\n"), g.stderr.String())
	}
	r.t.Cleanup(func() { c.Close() })
	return g, c
}

func TestRedis(t *testing.T) {
	r := newRig(t)
	server, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("Redis is not installed: ", err)
	}
	image := filepath.Join(r.dir, "redis.kiln")
	r.command(r.kiln, "bake", "-o", image, server, "--", "--dir", "/data", "--appendonly", "yes", "--appendfsync", "always",
		"--save", "", "--protected-mode", "no", "--aof-use-rdb-preamble", "yes")
	s := &store{}
	for i := range cuts() {
		g, c := r.serve(image)
		if wrong := s.verify(c); wrong != "" {
			t.Fatalf("before cut %d: %s", i+1, wrong)
		}
		before := s.next
		done := make(chan struct{})
		go func() { s.write(c); close(done) }()
		time.Sleep(r.moment(3 * time.Second))
		g.cut()
		c.Close()
		<-done
		for range g.lines {
		}
		g.end()
		t.Logf("cut %d: %d writes", i+1, s.next-before)
	}
	g, c := r.serve(image)
	if wrong := s.verify(c); wrong != "" {
		t.Fatalf("after the last cut: %s", wrong)
	}
	if err := c.Send("SHUTDOWN"); err != nil {
		t.Error(err)
	}
	if status := g.finish(); status != 0 {
		t.Errorf("Redis ended with status %d\n%s", status, g.stderr.String())
	}
	t.Logf("%+v", r.disk.Stats())
	if st := r.disk.Stats(); s.next == 0 || st.Flushes == 0 {
		t.Errorf("%d writes, %+v: the test tests nothing", s.next, st)
	}
	r.command("/usr/sbin/e2fsck", "-fn", r.image)
}
