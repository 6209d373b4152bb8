package e2e_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"kiln/test/kilncmd"
)

// TestRedisShortConnections opens many short connections to Debian's
// redis-server in 64 MB while it saves every 10 seconds. Each connection says
// PING and SET and ends in one of three ways: by the client, by the server
// (QUIT), or by a reset. KILN_CONNECTIONS says how many there are.
func TestRedisShortConnections(t *testing.T) {
	const server = "/usr/bin/redis-server"
	if _, err := os.Stat(server); err != nil {
		t.Fatalf("%v; install the package redis-server", err)
	}
	kiln := kilncmd.Path(t)
	count := 3000 // two or three saves
	if os.Getenv("KILN_LONG") != "" {
		count = 200_000
	}
	if n, err := strconv.Atoi(os.Getenv("KILN_CONNECTIONS")); err == nil {
		count = n
	}
	image := filepath.Join(t.TempDir(), "redis.img")
	if out, err := exec.Command(kiln, "bake", "-o", image, server, "--", "--protected-mode", "no", "--save", "10", "1").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	g := startRedis(t, kiln, image)
	begin := time.Now()
	for i := range count {
		if err := g.visit(i); err != nil {
			t.Fatalf("connection %d of %d, after %v: %v", i, count, time.Since(begin), err)
		}
		if i%10_000 == 9999 {
			t.Logf("%d connections in %.0f s, %s saves", i+1, time.Since(begin).Seconds(), g.info(t, "rdb_saves"))
		}
	}
	t.Logf("%d connections in %.0f s", count, time.Since(begin).Seconds())
	if got := g.info(t, "rdb_last_bgsave_status"); got != "ok" {
		t.Errorf("rdb_last_bgsave_status:%s, want ok", got)
	}
	// The last value of each key that was acknowledged.
	c, r := g.dial(t)
	defer c.Close()
	for i := max(0, count-keys); i < count; i++ {
		if got, err := ask(c, r, "GET key:%d", i%keys); err != nil || got != fmt.Sprintf("value:%d", i) {
			t.Fatalf("GET key:%d = %q, %v; want value:%d", i%keys, got, err, i)
		}
	}
}

// keys is how many keys the connections write to in turn.
const keys = 1000

// redisGuest is a machine with redis-server.
type redisGuest struct {
	address string
	console *bytes.Buffer // complete once done is closed
	done    chan struct{} // closed when the machine has ended
}

// startRedis starts a machine and waits for its server. It ends it with the
// test, by SIGTERM.
func startRedis(t *testing.T, kiln, image string) *redisGuest {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &redisGuest{address: l.Addr().String(), console: new(bytes.Buffer), done: make(chan struct{})}
	l.Close()
	_, port, _ := net.SplitHostPort(g.address)
	cmd := exec.Command(kiln, "run", "-M", "64", "-p", port+":6379", image)
	cmd.Stdout, cmd.Stderr = g.console, g.console
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		// The test looks at what the server says, not at the status.
		_ = cmd.Wait()
		close(g.done)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-g.done:
		case <-time.After(time.Minute):
			t.Error("the machine does not end")
			_ = cmd.Process.Kill()
			<-g.done
		}
		if t.Failed() {
			t.Logf("console:\n%s", g.console)
		}
	})
	for end := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		if c, err := net.Dial("tcp", g.address); err == nil {
			got, err := ask(c, bufio.NewReader(c), "PING")
			c.Close()
			if err == nil && got == "PONG" {
				return g
			}
		}
		if time.Now().After(end) {
			t.Fatal("redis-server does not answer within a minute")
		}
	}
}

// visit makes connection i.
func (g *redisGuest) visit(i int) error {
	c, err := net.DialTimeout("tcp", g.address, time.Minute)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	r := bufio.NewReader(c)
	if got, err := ask(c, r, "PING"); err != nil || got != "PONG" {
		return fmt.Errorf("PING: %q, %w", got, err)
	}
	if got, err := ask(c, r, "SET key:%d value:%d", i%keys, i); err != nil || got != "OK" {
		return fmt.Errorf("SET: %q, %w", got, err)
	}
	switch i % 3 {
	case 1:
		if got, err := ask(c, r, "QUIT"); err != nil || got != "OK" {
			return fmt.Errorf("QUIT: %q, %w", got, err)
		}
		if _, err := r.ReadByte(); err != io.EOF {
			return fmt.Errorf("after QUIT: %v, want EOF", err)
		}
	case 2:
		return c.(*net.TCPConn).SetLinger(0)
	}
	return nil
}

// dial connects and fails the test if that fails.
func (g *redisGuest) dial(t *testing.T) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.DialTimeout("tcp", g.address, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return c, bufio.NewReader(c)
}

// info returns a field of INFO.
func (g *redisGuest) info(t *testing.T, field string) string {
	t.Helper()
	c, r := g.dial(t)
	defer c.Close()
	all, err := ask(c, r, "INFO persistence")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(all, field+":")
	value, _, _ := strings.Cut(after, "\r")
	return value
}

// ask sends a command as a line and returns the answer: a status, or a string.
func ask(c net.Conn, r *bufio.Reader, command string, args ...any) (string, error) {
	if _, err := fmt.Fprintf(c, command+"\r\n", args...); err != nil {
		return "", err
	}
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	if !strings.HasPrefix(line, "$") {
		return strings.TrimPrefix(line, "+"), nil
	}
	n, err := strconv.Atoi(line[1:])
	if err != nil || n < 0 {
		return "", fmt.Errorf("answer %q", line)
	}
	body := make([]byte, n+2)
	_, err = io.ReadFull(r, body)
	return string(body[:max(n, 0)]), err
}
