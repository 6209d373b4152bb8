package soak_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"kiln/test/redisclient"
)

const (
	keys          = 400
	writesPerHour = 100_000
	saveInterval  = 30 * time.Second
)

// ledger is what must be in the database: for each key the number that was
// acknowledged last.
type ledger [keys]int

func value(key, n int) string { return fmt.Sprintf("%d:%d:%s", key, n, strings.Repeat("v", n%300)) }

// verify asks for all keys.
func (l *ledger) verify(c *redisclient.Conn) error {
	for key, n := range l {
		want := ""
		if n > 0 {
			want = value(key, n)
		}
		if got, err := c.Do("GET", fmt.Sprint("key", key)); err != nil || got != want {
			return fmt.Errorf("key %d has %q (%v), want %q", key, got, err, want)
		}
	}
	return nil
}

// load is what comes from outside.
type load struct {
	t       *testing.T
	redis   *redisclient.Conn
	ledger  *ledger
	ended   chan struct{} // closed to end it
	running sync.WaitGroup
	counts
}

// counts are each written by one goroutine.
type counts struct{ connections, writes, saves int }

// startLoad makes connections to the published port and writes to Redis, evenly
// over a time.
func (r *rig) startLoad(g *guest, long time.Duration, connections int) *load {
	l := &load{t: r.t, redis: r.redis(g), ledger: &ledger{}, ended: make(chan struct{})}
	l.running.Go(func() {
		l.pace(long, connections, func(n int) error {
			l.connections++
			return connectOnce(r.servingAddress, n)
		})
	})
	l.running.Go(l.useRedis)
	return l
}

// stop ends the load, once all connections have been made, and Redis.
func (l *load) stop() counts {
	close(l.ended)
	l.running.Wait()
	if err := l.redis.Send("SHUTDOWN", "SAVE"); err != nil {
		l.t.Error(err)
	}
	if reply, err := l.redis.Reply(); err == nil {
		l.t.Errorf("SHUTDOWN: Redis says %q", reply)
	}
	l.redis.Close()
	return l.counts
}

// pace calls once count times, evenly over a time, or until there is an error.
func (l *load) pace(long time.Duration, count int, once func(n int) error) {
	begin := time.Now()
	for n := range count {
		time.Sleep(time.Until(begin.Add(time.Duration(float64(long) * float64(n) / float64(count)))))
		if err := once(n); err != nil {
			l.t.Errorf("after %d times: %v", n, err)
			return
		}
	}
}

// connectOnce makes a connection that carries a line each way. In turns, the
// client closes first, the server does, the client resets it, and the client
// goes without a word.
func connectOnce(address string, n int) error {
	conn, err := net.DialTimeout("tcp", address, time.Minute)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	line := []string{"client", "server", "client", ""}[n%4]
	if _, err := io.WriteString(conn, line); err != nil {
		return err
	}
	got := make([]byte, len(line))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != line {
		return fmt.Errorf("the answer to %q is %q: %w", line, got, err)
	}
	switch n % 4 {
	case 1:
		if rest, err := io.ReadAll(conn); err != nil || len(rest) != 0 {
			return fmt.Errorf("%q came after the answer, %w", rest, err)
		}
	case 2:
		return conn.(*net.TCPConn).SetLinger(0)
	}
	return nil
}

// useRedis writes to Redis until the end, and has it save.
func (l *load) useRedis() {
	pause := time.NewTicker(time.Duration(float64(time.Hour) / writesPerHour))
	defer pause.Stop()
	save := time.NewTicker(saveInterval)
	defer save.Stop()
	for {
		var err error
		select {
		case <-l.ended:
			return
		case <-save.C:
			err = l.save()
		case <-pause.C:
			err = l.write()
		}
		if err != nil {
			l.t.Errorf("Redis, after %d writes: %v", l.writes, err)
			return
		}
	}
}

func (l *load) write() error {
	n := l.writes + 1
	key := n * 7 % keys
	ok, err := l.redis.Do("SET", fmt.Sprint("key", key), value(key, n))
	if err != nil || ok != "OK" {
		return fmt.Errorf("SET: %q, %w", ok, err)
	}
	l.ledger[key], l.writes = n, n
	return nil
}

// save has Redis save in the background. The save before has ended well.
func (l *load) save() error {
	info, err := l.redis.Do("INFO", "persistence")
	if err != nil {
		return err
	}
	if strings.Contains(info, "rdb_bgsave_in_progress:1") {
		return nil // by its own decision, or the machine is slow
	}
	if !strings.Contains(info, "rdb_last_bgsave_status:ok") {
		return fmt.Errorf("the last save failed:\n%s", info)
	}
	if _, err := l.redis.Do("BGSAVE"); err != nil {
		return err
	}
	l.saves++
	return nil
}
