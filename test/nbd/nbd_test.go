package nbd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"testing"
)

// memory is a File in memory.
type memory []byte

func (m memory) ReadAt(p []byte, off int64) (int, error) { return copy(p, m[off:]), nil }

func (m memory) WriteAt(p []byte, off int64) (int, error) { return copy(m[off:], p), nil }

const diskSize = 64 * SectorSize

// sector is a sector full of one value.
func sector(v byte) []byte { return bytes.Repeat([]byte{v}, SectorSize) }

// must fails the test if err is not nil.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// at returns the first byte of a sector.
func at(t *testing.T, d *Disk, s int64) byte {
	t.Helper()
	b := make([]byte, SectorSize)
	must(t, d.Read(b, s*SectorSize))
	if !bytes.Equal(b, sector(b[0])) {
		t.Errorf("sector %d is torn", s)
	}
	return b[0]
}

func TestReadsSeeTheCache(t *testing.T) {
	file := make(memory, diskSize)
	d := NewDisk(file, diskSize)
	must(t, d.Write(append(sector(1), sector(2)...), 0))
	must(t, d.Write(sector(3), SectorSize))
	if a, b, c := at(t, d, 0), at(t, d, 1), at(t, d, 2); a != 1 || b != 3 || c != 0 {
		t.Errorf("read %d %d %d, want 1 3 0", a, b, c)
	}
	if file[0] != 0 {
		t.Error("an unflushed write is in the file")
	}
	must(t, d.Flush())
	if file[0] != 1 || file[SectorSize] != 3 {
		t.Errorf("after the flush the file has %d %d, want 1 3", file[0], file[SectorSize])
	}
}

func TestRange(t *testing.T) {
	d := NewDisk(make(memory, diskSize), diskSize)
	for _, off := range []int64{-SectorSize, 1, diskSize, diskSize - SectorSize/2} {
		if d.Write(sector(1), off) == nil || d.Read(sector(0), off) == nil {
			t.Errorf("offset %d is accepted", off)
		}
	}
	if d.Write(make([]byte, 10), 0) == nil {
		t.Error("a part of a sector is accepted")
	}
}

// What was flushed survives each cut; of what was not, now this and now that
// does: nothing, all, older writes without newer and newer without older,
// and parts of one.
func TestCut(t *testing.T) {
	seen := make(map[[4]byte]bool)
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		d := NewDisk(make(memory, diskSize), diskSize)
		must(t, d.Write(sector(9), 3*SectorSize))
		must(t, d.Flush())
		must(t, d.Write(sector(1), 0))
		must(t, d.Write(append(sector(2), sector(2)...), SectorSize))
		must(t, d.Write(sector(5), 0))
		must(t, d.Cut(random))
		if got := at(t, d, 3); got != 9 {
			t.Fatalf("a flushed sector has %d after a cut, want 9", got)
		}
		seen[[4]byte{at(t, d, 0), at(t, d, 1), at(t, d, 2)}] = true
		if d.pending != nil || len(d.latest) != 0 {
			t.Fatal("something is left in the cache")
		}
	}
	for _, want := range [][4]byte{
		{0, 0, 0}, {5, 2, 2}, // nothing, all
		{1, 0, 0}, {5, 0, 0}, {0, 2, 2}, {1, 2, 2}, // the older, the newer, the one between
		{0, 2, 0}, {5, 0, 2}, // torn
	} {
		if !seen[want] {
			t.Errorf("no cut left %v", want[:3])
		}
	}
}

// A disk that lies about flushes loses what it said was durable: the power-cut
// tests see it, see test/powercut.
func TestIgnoreFlush(t *testing.T) {
	random, lost := rand.New(rand.NewPCG(3, 4)), 0
	for range 100 {
		d := NewDisk(make(memory, diskSize), diskSize)
		d.IgnoreFlush = true
		must(t, d.Write(sector(7), 0))
		must(t, d.Flush())
		must(t, d.Cut(random))
		if at(t, d, 0) != 7 {
			lost++
		}
	}
	if lost < 20 || lost > 80 {
		t.Errorf("%d of 100 flushed writes were lost, want about a half", lost)
	}
}

func TestWriteThrough(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 100 {
		d := NewDisk(make(memory, diskSize), diskSize)
		must(t, d.Write(append(sector(1), sector(1)...), 0))
		must(t, d.WriteThrough(sector(2), 0))
		if a, b := at(t, d, 0), at(t, d, 1); a != 2 || b != 1 {
			t.Fatalf("read %d %d, want 2 1", a, b)
		}
		must(t, d.Cut(random))
		if got := at(t, d, 0); got != 2 {
			t.Fatalf("a sector that was written through has %d after a cut, want 2", got)
		}
	}
}

// dial connects a client and negotiates as QEMU does.
func dial(t *testing.T, socket string) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	hello := make([]byte, 18)
	_, err = io.ReadFull(conn, hello)
	must(t, err)
	if string(hello[:16]) != "NBDMAGICIHAVEOPT" || hello[17]&flagFixedNewstyle == 0 {
		t.Fatalf("the server says %q", hello)
	}
	send(t, conn, uint32(3))
	// First what the server does not have: structured replies.
	send(t, conn, uint64(magicOption), uint32(8), uint32(0))
	if typ, _ := optionReply(t, conn); typ != repErrUnsupported {
		t.Fatalf("reply %#x to an unknown option", typ)
	}
	send(t, conn, uint64(magicOption), uint32(optGo), uint32(6), uint32(0), uint16(0))
	var info []byte
	for {
		typ, data := optionReply(t, conn)
		if typ == repAck {
			break
		}
		info = append(info, data...)
	}
	if len(info) != 26 || binary.BigEndian.Uint64(info[2:]) != diskSize || binary.BigEndian.Uint16(info[10:]) != transmitFlags {
		t.Fatalf("the server says of its export %x", info)
	}
	return conn
}

func send(t *testing.T, w io.Writer, values ...any) {
	t.Helper()
	for _, v := range values {
		must(t, binary.Write(w, binary.BigEndian, v))
	}
}

func optionReply(t *testing.T, r io.Reader) (typ uint32, data []byte) {
	t.Helper()
	head := make([]byte, 20)
	_, err := io.ReadFull(r, head)
	must(t, err)
	data = make([]byte, binary.BigEndian.Uint32(head[16:]))
	_, err = io.ReadFull(r, data)
	must(t, err)
	return binary.BigEndian.Uint32(head[12:]), data
}

// command sends a request and returns the error number and what was read.
func command(t *testing.T, conn net.Conn, flags, typ uint16, off uint64, length uint32, data []byte) (uint32, []byte) {
	t.Helper()
	send(t, conn, uint32(magicRequest), flags, typ, uint64(42), off, length, data)
	head := make([]byte, 16)
	_, err := io.ReadFull(conn, head)
	must(t, err)
	if binary.BigEndian.Uint32(head) != magicSimple || binary.BigEndian.Uint64(head[8:]) != 42 {
		t.Fatalf("reply %x", head)
	}
	code := binary.BigEndian.Uint32(head[4:])
	var out []byte
	if typ == cmdRead && code == 0 {
		out = make([]byte, length)
		_, err := io.ReadFull(conn, out)
		must(t, err)
	}
	return code, out
}

func TestServer(t *testing.T) {
	file := make(memory, diskSize)
	d := NewDisk(file, diskSize)
	socket := filepath.Join(t.TempDir(), "nbd")
	s, err := Serve(d, socket)
	must(t, err)
	conn := dial(t, socket)
	for _, step := range []struct {
		flags, typ uint16
		off        uint64
		data       []byte
		code       uint32
		durable    byte // first byte of the file then
	}{
		{0, cmdWrite, 0, sector(1), 0, 0},
		{0, cmdFlush, 0, nil, 0, 1},
		{0, cmdWrite, 0, sector(2), 0, 1},
		{cmdFlagFUA, cmdWrite, 0, sector(3), 0, 3},
		{0, cmdWriteZeroes, 0, sector(0), 0, 3},
		{0, cmdFlush, 0, nil, 0, 0},
		{0, cmdTrim, 0, sector(0), 0, 0},
		{0, cmdWrite, diskSize, sector(1), errInvalid, 0},
		{0, 99, 0, nil, errInvalid, 0},
	} {
		sent := step.data
		if step.typ != cmdWrite {
			sent = nil
		}
		code, _ := command(t, conn, step.flags, step.typ, step.off, uint32(len(step.data)), sent)
		d.mu.Lock()
		durable := file[0]
		d.mu.Unlock()
		if code != step.code || durable != step.durable {
			t.Errorf("command %d at %d: error %d, durable %d; want %d, %d", step.typ, step.off, code, durable, step.code, step.durable)
		}
	}
	must(t, d.Write(sector(8), SectorSize))
	if code, got := command(t, conn, 0, cmdRead, SectorSize, SectorSize, nil); code != 0 || !bytes.Equal(got, sector(8)) {
		t.Errorf("read: error %d, %d…", code, got[0])
	}
	must(t, s.Close())
}

// What a client had sent before it died arrives, and its death is no error.
func TestDrain(t *testing.T) {
	d := NewDisk(make(memory, diskSize), diskSize)
	socket := filepath.Join(t.TempDir(), "nbd")
	s, err := Serve(d, socket)
	must(t, err)
	conn := dial(t, socket)
	send(t, conn, uint32(magicRequest), uint16(0), uint16(cmdWrite), uint64(1), uint64(0), uint32(SectorSize), sector(6))
	send(t, conn, uint32(magicRequest), uint16(0)) // the half of another
	conn.Close()
	must(t, s.Drain())
	if got := at(t, d, 0); got != 6 {
		t.Errorf("sector 0 has %d, want 6", got)
	}
	if _, err := net.Dial("unix", socket); err == nil {
		t.Error("the server goes on")
	}
}

func TestBadClient(t *testing.T) {
	d := NewDisk(make(memory, diskSize), diskSize)
	socket := filepath.Join(t.TempDir(), "nbd")
	s, err := Serve(d, socket)
	must(t, err)
	conn := dial(t, socket)
	send(t, conn, make([]byte, 28)) // no magic
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("Read: %v, want the server to hang up", err)
	}
	if err := s.Close(); err == nil {
		t.Error("nonsense is not reported")
	}
}
