package instance

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A Request is what a command asks of a supervisor, by its socket: one JSON
// object, which a reply follows.
type Request struct {
	Action string `json:"action"`
	// Timeout, of ActionStop and ActionRestart, is from the request to the
	// program until the machine is killed, in milliseconds. A negative one never
	// passes; nil is the instance's own.
	Timeout *int64 `json:"timeout,omitempty"`
	Signal  string `json:"signal,omitempty"` // a name without SIG, or a number; KILL ends the machine
	Rows    uint16 `json:"rows,omitempty"`   // of the terminal
	Cols    uint16 `json:"cols,omitempty"`
}

// endingSignals are sent to have a program end. No restart follows.
var endingSignals = []string{"TERM", "INT", "QUIT", "KILL"}

func (r Request) ends() bool { return slices.Contains(endingSignals, r.Signal) }

// The actions of requests.
const (
	ActionStop    = "stop"
	ActionRestart = "restart"
	ActionSignal  = "signal"
	ActionResize  = "resize"
	ActionInput   = "input" // what follows the reply is input for the program
)

// reply is the answer to a request.
type reply struct {
	Error string `json:"error,omitempty"`
}

// requestTime is how long a peer may take for its part of a request.
const requestTime = 10 * time.Second

// Server is a supervisor's socket.
type Server struct {
	listener *net.UnixListener
	do       func(Request) error
	input    func(net.Conn)
	conns    sync.WaitGroup
}

// Serve begins to serve the supervisor's socket. input gets the connections of
// ActionInput, to read from until they end; nil refuses them.
func (s *Supervisor) Serve(input func(net.Conn)) (*Server, error) {
	path := s.SupervisorSocket()
	// A supervisor before us may have been killed: its socket is still there.
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	server := &Server{listener: l, do: s.Do, input: input}
	go server.serve()
	return server, nil
}

// Close ends the server. A reply that is being written still is.
func (s *Server) Close() error {
	err := s.listener.Close()
	s.conns.Wait()
	return err
}

func (s *Server) serve() {
	for {
		conn, err := s.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // no descriptors, say
			time.Sleep(10 * time.Millisecond)
			continue
		}
		s.conns.Add(1)
		go s.answer(conn)
	}
}

// answer carries out the request that comes from conn.
func (s *Server) answer(conn net.Conn) {
	done := sync.OnceFunc(s.conns.Done)
	defer done()
	var r Request
	_ = conn.SetDeadline(time.Now().Add(requestTime))
	line, err := readLine(conn)
	if err == nil {
		err = json.Unmarshal(line, &r)
	}
	input := err == nil && r.Action == ActionInput
	switch {
	case input && s.input == nil:
		input, err = false, ErrNoInput
	case err == nil && !input:
		err = s.do(r)
	}
	var a reply
	if err != nil {
		a.Error = err.Error()
	}
	// A peer that is gone needs no reply.
	if json.NewEncoder(conn).Encode(a) == nil && input {
		_ = conn.SetDeadline(time.Time{})
		done()
		s.input(conn)
	}
	_ = conn.Close()
}

// maxRequest bounds a request, in bytes.
const maxRequest = 64 << 10

// readLine reads up to the end of a line, and nothing behind it.
func readLine(conn net.Conn) ([]byte, error) {
	var line []byte
	b := make([]byte, 1)
	for len(line) < maxRequest {
		if _, err := conn.Read(b); err != nil {
			return nil, err
		}
		if b[0] == '\n' {
			return line, nil
		}
		line = append(line, b[0])
	}
	return nil, fmt.Errorf("a request of more than %d bytes", maxRequest)
}

// ErrGone says that an instance no longer runs.
var ErrGone = errors.New("it does not run")

// ErrNoInput says that a program takes no input.
var ErrNoInput = errors.New("it was not started with -i: it takes no input")

// Ask asks r of the instance's supervisor. The error is ErrGone if there is none
// any more.
func (i *Instance) Ask(r Request) error {
	conn, err := i.ask(r)
	if err != nil {
		return err
	}
	return conn.Close()
}

// AskInput returns a connection by which the program gets input.
func (i *Instance) AskInput() (*net.UnixConn, error) { return i.ask(Request{Action: ActionInput}) }

func (i *Instance) ask(r Request) (_ *net.UnixConn, err error) {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: i.SupervisorSocket(), Net: "unix"})
	if errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
		return nil, i.unheard(err)
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			conn.Close()
		}
	}()
	if err := conn.SetDeadline(time.Now().Add(requestTime)); err != nil {
		return nil, err
	}
	if err := json.NewEncoder(conn).Encode(r); err != nil {
		return nil, i.unheard(err)
	}
	line, err := readLine(conn)
	if err != nil {
		return nil, i.unheard(err)
	}
	var a reply
	if err := json.Unmarshal(line, &a); err != nil {
		return nil, err
	}
	if a.Error == ErrNoInput.Error() {
		return nil, ErrNoInput
	}
	if a.Error != "" {
		return nil, fmt.Errorf("%s: %s", i.Name, a.Error)
	}
	return conn, conn.SetDeadline(time.Time{})
}

// unheard returns what it means that the supervisor did not answer, by err.
func (i *Instance) unheard(err error) error {
	now, lookErr := i.Look()
	if lookErr != nil {
		return lookErr
	}
	if now == nil || !now.Up() {
		return ErrGone
	}
	return fmt.Errorf("%s: its supervisor (process %d) does not answer: %w", i.Name, now.State.PID, err)
}

// Look returns the instance as it is now, nil if it was removed.
func (i *Instance) Look() (*Instance, error) { return i.store.look(i.ID) }
