package ninep

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
)

// A Transport carries messages to a server and its replies back.
type Transport interface {
	// RoundTrip sends the message that the parts of request are, and puts
	// the reply into the parts of reply, filling one after the other. It
	// returns how many bytes the reply has. It may be called concurrently.
	RoundTrip(request, reply [][]byte) (int, error)
	// MaxMessage is the size of the largest message, in bytes.
	MaxMessage() int
}

const (
	minMessage = 4096 // less is not worth it, and directory entries must fit
	maxTags    = 64   // requests at the same time
)

// session numbers requests and files.
type session struct {
	t    Transport
	max  int         // message size that both sides agreed on, bytes
	tags chan uint16 // those that are free

	mu   sync.Mutex
	free []uint32 // guarded by mu: fids to use again
	next uint32   // guarded by mu: the first that never was in use
}

// newSession agrees on the protocol with the server.
func newSession(t Transport) (*session, error) {
	s := &session{t: t, max: t.MaxMessage(), tags: make(chan uint16, maxTags)}
	for i := range uint16(maxTags) {
		s.tags <- i
	}
	r, err := s.roundTrip(tversion, noTag, newBody().u32(uint32(s.max)).str(version), make([]byte, 64), nil, nil)
	if err != nil {
		return nil, fmt.Errorf("version: %w", err)
	}
	max, name := r.u32(), r.str()
	if r.bad || name != version {
		return nil, fmt.Errorf("the server speaks %q, not %s: %w", name, version, syscall.EPROTONOSUPPORT)
	}
	if max < minMessage || int64(max) > int64(s.max) {
		return nil, fmt.Errorf("the server wants messages of %d bytes, of %d to %d: %w", max, minMessage, s.max, syscall.EPROTO)
	}
	s.max = int(max)
	return s, nil
}

// replySpace is enough for any reply without data: Rgetattr has 160 bytes.
const replySpace = 192

// call sends a request and returns the reply.
func (s *session) call(typ uint8, b body) (reply, error) {
	return s.callData(typ, b, make([]byte, replySpace), nil, nil)
}

// callData is call with data: send follows the request; head takes the reply,
// and receive what does not fit in there.
func (s *session) callData(typ uint8, b body, head, send, receive []byte) (reply, error) {
	tag := <-s.tags
	defer func() { s.tags <- tag }()
	return s.roundTrip(typ, tag, b, head, send, receive)
}

func (s *session) roundTrip(typ uint8, tag uint16, b body, head, send, receive []byte) (reply, error) {
	size := len(b) + len(send)
	if size > s.max {
		return reply{}, syscall.ENAMETOOLONG // only names make a request so long
	}
	binary.LittleEndian.PutUint32(b, uint32(size))
	b[4] = typ
	binary.LittleEndian.PutUint16(b[5:], tag)
	n, err := s.t.RoundTrip([][]byte{b, send}, [][]byte{head, receive})
	if err != nil {
		return reply{}, fmt.Errorf("9P request %d: %w", typ, err)
	}
	if n < headerSize || n > len(head)+len(receive) {
		return reply{}, protocolError("a reply of %d bytes to request %d", n, typ)
	}
	if got := binary.LittleEndian.Uint32(head); int64(got) != int64(n) {
		return reply{}, protocolError("a reply of %d bytes says that it has %d", n, got)
	}
	if got := binary.LittleEndian.Uint16(head[5:]); got != tag {
		return reply{}, protocolError("a reply with tag %d to one with %d", got, tag)
	}
	r := reply{b: head[headerSize:min(n, len(head))]}
	switch head[4] {
	case typ + 1:
		return r, nil
	case rlerror:
		return reply{}, errorNumber(&r)
	}
	return reply{}, protocolError("a reply of type %d to a request of type %d", head[4], typ)
}

// errorNumber returns the error that an Rlerror has.
func errorNumber(r *reply) error {
	if e := r.u32(); !r.bad && e > 0 && e < 4096 {
		return syscall.Errno(e)
	}
	return protocolError("an Rlerror without an error number")
}

// protocolError says that a server does not keep to the protocol. Programs see
// EIO.
func protocolError(format string, args ...any) error {
	return fmt.Errorf("9P: %s: %w", fmt.Sprintf(format, args...), syscall.EIO)
}

// check returns an error if a reply was shorter than what was read of it.
func (r *reply) check(typ uint8) error {
	if r.bad {
		return protocolError("the reply to request %d ends early", typ)
	}
	return nil
}

// fid is a file that the server knows by a number of ours. It is forgotten
// with the last reference.
type fid struct {
	s    *session
	num  uint32
	refs atomic.Int32
}

// newFid returns a number that is not in use, with a reference.
func (s *session) newFid() *fid {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &fid{s: s}
	f.refs.Store(1)
	if n := len(s.free); n > 0 {
		f.num, s.free = s.free[n-1], s.free[:n-1]
	} else {
		f.num = s.next
		s.next++
	}
	return f
}

// drop makes the number free of a fid that the server never got to know.
func (f *fid) drop() {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.s.free = append(f.s.free, f.num)
}

// use takes a further reference.
func (f *fid) use() *fid {
	f.refs.Add(1)
	return f
}

// release gives one back and returns what the server said of the last.
func (f *fid) release() error {
	if f.refs.Add(-1) > 0 {
		return nil
	}
	_, err := f.s.call(tclunk, newBody().u32(f.num))
	f.drop() // a clunk that fails forgets the fid too
	return err
}

// walk returns the file that is reached from f by names, none for f itself.
func (f *fid) walk(names ...string) (*fid, qid, error) {
	to := f.s.newFid()
	b := newBody().u32(f.num).u32(to.num).u16(uint16(len(names)))
	for _, name := range names {
		b = b.str(name)
	}
	r, err := f.s.call(twalk, b)
	if err != nil {
		to.drop()
		return nil, qid{}, err
	}
	if n := int(r.u16()); n != len(names) {
		// Some names were found, but not all: to is not in use.
		to.drop()
		if n < len(names) && !r.bad {
			return nil, qid{}, syscall.ENOENT
		}
		return nil, qid{}, protocolError("%d qids for %d names", n, len(names))
	}
	var q qid
	for range names {
		q = r.qid()
	}
	if err := r.check(twalk); err != nil {
		_ = to.release() // err tells what is wrong
		return nil, qid{}, err
	}
	return to, q, nil
}
