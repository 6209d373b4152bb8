package nbd

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
)

// Numbers of the handshake, doc/proto.md "Newstyle negotiation".
const (
	magicInit   = 0x4e42444d41474943 // "NBDMAGIC"
	magicOption = 0x49484156454f5054 // "IHAVEOPT"
	magicReply  = 0x0003e889045565a9

	flagFixedNewstyle = 1 << 0
	flagNoZeroes      = 1 << 1

	optExportName = 1
	optAbort      = 2
	optInfo       = 6
	optGo         = 7

	repAck            = 1
	repInfo           = 3
	repErrUnsupported = 1<<31 | 1
	repErrInvalid     = 1<<31 | 3

	infoExport    = 0
	infoBlockSize = 3

	maxOption = 64 << 10 // bytes of an option's data
)

// Numbers of the transmission phase.
const (
	magicRequest = 0x25609513
	magicSimple  = 0x67446698

	transmitHasFlags    = 1 << 0
	transmitFlush       = 1 << 2
	transmitFUA         = 1 << 3
	transmitTrim        = 1 << 5
	transmitWriteZeroes = 1 << 6
	transmitFlags       = transmitHasFlags | transmitFlush | transmitFUA | transmitTrim | transmitWriteZeroes

	cmdRead        = 0
	cmdWrite       = 1
	cmdDisconnect  = 2
	cmdFlush       = 3
	cmdTrim        = 4
	cmdWriteZeroes = 6

	cmdFlagFUA = 1 << 0

	maxTransfer = 32 << 20 // bytes
)

// Server serves a disk to one client after the other.
type Server struct {
	disk     *Disk
	listener net.Listener

	mu    sync.Mutex
	conns map[net.Conn]bool // guarded by mu
	errs  []error           // guarded by mu
	group sync.WaitGroup
}

// Serve serves a disk at a Unix socket.
func Serve(disk *Disk, socket string) (*Server, error) {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	s := &Server{disk: disk, listener: l, conns: make(map[net.Conn]bool)}
	s.group.Go(s.accept)
	return s, nil
}

func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return // closed
		}
		s.mu.Lock()
		s.conns[conn] = true
		s.mu.Unlock()
		s.group.Go(func() { s.serve(conn) })
	}
}

func (s *Server) serve(conn net.Conn) {
	err := (&client{disk: s.disk, r: bufio.NewReaderSize(conn, 1<<20), w: conn}).run()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, conn)
	conn.Close()
	// A client that is killed ends in the middle of something.
	for _, end := range []error{nil, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.EPIPE, syscall.ECONNRESET} {
		if errors.Is(err, end) {
			return
		}
	}
	s.errs = append(s.errs, err)
}

// Close ends all clients and waits for the last request. It returns what went
// wrong while serving.
func (s *Server) Close() error {
	err := s.listener.Close()
	s.mu.Lock()
	for conn := range s.conns {
		conn.Close()
	}
	s.mu.Unlock()
	s.group.Wait()
	return errors.Join(append(s.errs, err)...)
}

// Drain waits until all clients are gone: after a kill, for what they had sent.
func (s *Server) Drain() error {
	err := s.listener.Close()
	s.group.Wait()
	return errors.Join(append(s.errs, err)...)
}

// client is one connection.
type client struct {
	disk *Disk
	r    *bufio.Reader
	w    io.Writer
}

func (c *client) run() error {
	if ok, err := c.negotiate(); !ok || err != nil {
		return err
	}
	for {
		if done, err := c.request(); done || err != nil {
			return err
		}
	}
}

// send writes values in network order.
func (c *client) send(values ...any) error {
	var b []byte
	for _, v := range values {
		var err error
		if b, err = binary.Append(b, binary.BigEndian, v); err != nil {
			return err
		}
	}
	_, err := c.w.Write(b)
	return err
}

func (c *client) receive(values ...any) error {
	for _, v := range values {
		if err := binary.Read(c.r, binary.BigEndian, v); err != nil {
			return err
		}
	}
	return nil
}

// negotiate answers options until one starts the transmission. It returns
// false if the client gives up.
func (c *client) negotiate() (bool, error) {
	if err := c.send(uint64(magicInit), uint64(magicOption), uint16(flagFixedNewstyle|flagNoZeroes)); err != nil {
		return false, err
	}
	var clientFlags uint32
	if err := c.receive(&clientFlags); err != nil {
		return false, err
	}
	for {
		var magic uint64
		var option, length uint32
		if err := c.receive(&magic, &option, &length); err != nil {
			return false, err
		}
		if magic != magicOption || length > maxOption {
			return false, fmt.Errorf("nbd: an option with magic %#x and %d bytes", magic, length)
		}
		data := make([]byte, length)
		if _, err := io.ReadFull(c.r, data); err != nil {
			return false, err
		}
		ready, err := c.option(option, data, clientFlags)
		if ready || err != nil || option == optAbort {
			return ready, err
		}
	}
}

// option answers one option. It returns true if the transmission begins.
func (c *client) option(option uint32, data []byte, clientFlags uint32) (bool, error) {
	reply := func(typ uint32, data []byte) error {
		return c.send(uint64(magicReply), option, typ, uint32(len(data)), data)
	}
	switch option {
	case optExportName:
		zeroes := make([]byte, 124)
		if clientFlags&flagNoZeroes != 0 {
			zeroes = nil
		}
		return true, c.send(uint64(c.disk.Size()), uint16(transmitFlags), zeroes)
	case optAbort:
		return false, reply(repAck, nil)
	case optInfo, optGo:
		// An export's name, and what the client would like to know.
		if len(data) < 6 {
			return false, reply(repErrInvalid, nil)
		}
		info := binary.BigEndian.AppendUint64([]byte{0, infoExport}, uint64(c.disk.Size()))
		info = binary.BigEndian.AppendUint16(info, transmitFlags)
		sizes := []byte{0, infoBlockSize}
		for _, n := range []uint32{SectorSize, 4096, maxTransfer} { // least, best, most
			sizes = binary.BigEndian.AppendUint32(sizes, n)
		}
		err := errors.Join(reply(repInfo, info), reply(repInfo, sizes), reply(repAck, nil))
		return option == optGo, err
	}
	return false, reply(repErrUnsupported, nil)
}

// Errors of replies, doc/proto.md "Error values".
const (
	errIO      = 5
	errInvalid = 22
)

// request carries out one request. It returns true if it is the last.
func (c *client) request() (done bool, err error) {
	var r struct {
		Magic       uint32
		Flags, Type uint16
		Handle      uint64
		Offset      uint64
		Length      uint32
	}
	if err := c.receive(&r); err != nil {
		return false, err
	}
	if r.Magic != magicRequest || r.Length > maxTransfer && r.Type != cmdWriteZeroes && r.Type != cmdTrim {
		return false, fmt.Errorf("nbd: a request with magic %#x for %d bytes", r.Magic, r.Length)
	}
	var data []byte
	if r.Type == cmdWrite {
		data = make([]byte, r.Length)
		if _, err := io.ReadFull(c.r, data); err != nil {
			return false, err
		}
	}
	write := c.disk.Write
	if r.Flags&cmdFlagFUA != 0 {
		write = c.disk.WriteThrough
	}
	out, code := c.carryOut(r.Type, data, int64(r.Offset), r.Length, write)
	if r.Type == cmdDisconnect {
		return true, nil
	}
	if code != 0 {
		out = nil
	}
	return false, c.send(uint32(magicSimple), code, r.Handle, out)
}

// carryOut does what a request asks for, writing by write, and returns what was
// read, or an error number.
func (c *client) carryOut(typ uint16, data []byte, off int64, length uint32, write func([]byte, int64) error) (out []byte, code uint32) {
	if off < 0 || c.disk.check(off, int64(length)) != nil {
		return nil, errInvalid
	}
	var err error
	switch typ {
	case cmdRead:
		out = make([]byte, length)
		err = c.disk.Read(out, off)
	case cmdWrite:
		err = write(data, off)
	case cmdWriteZeroes:
		const piece = 1 << 20
		for length > 0 && err == nil {
			n := min(length, piece)
			err = write(make([]byte, n), off)
			off, length = off+int64(n), length-n
		}
	case cmdFlush:
		err = c.disk.Flush()
	case cmdTrim, cmdDisconnect:
		// What is trimmed may keep its content.
	default:
		return nil, errInvalid
	}
	if err != nil {
		return nil, errIO
	}
	return out, 0
}
