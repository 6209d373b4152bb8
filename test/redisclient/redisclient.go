// Package redisclient is a connection to a Redis server that knows as much of
// its protocol as the tests need.
package redisclient

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// A Conn is a connection. Commands can be sent before the replies to earlier
// ones are read.
type Conn struct {
	conn net.Conn
	r    *bufio.Reader
}

// Dial connects to the server at address, which is ready. All that is done on
// the connection must be done within limit.
func Dial(address string, limit time.Duration) (*Conn, error) {
	conn, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		return nil, err
	}
	return &Conn{conn, bufio.NewReader(conn)}, conn.SetDeadline(time.Now().Add(limit))
}

// Close ends the connection.
func (c *Conn) Close() error { return c.conn.Close() }

// Send sends a command.
func (c *Conn) Send(words ...string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	_, err := io.WriteString(c.conn, b.String())
	return err
}

// Reply reads a reply: a line, or a string of bytes, "" for none. What the
// server says is an error is one.
func (c *Conn) Reply() (string, error) {
	line, err := c.r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimRight(line, "\r\n")
	switch {
	case strings.HasPrefix(line, "+"):
		return line[1:], nil
	case strings.HasPrefix(line, "-"):
		return "", errors.New(line)
	case strings.HasPrefix(line, "$"):
		n, err := strconv.Atoi(line[1:])
		if err != nil || n < 0 {
			return "", err
		}
		b := make([]byte, n+2)
		_, err = io.ReadFull(c.r, b)
		return string(b[:n]), err
	}
	return line, nil
}

// Do sends a command and reads its reply.
func (c *Conn) Do(words ...string) (string, error) {
	if err := c.Send(words...); err != nil {
		return "", err
	}
	return c.Reply()
}
