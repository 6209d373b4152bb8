// Package channel is what host and guest say to each other while a guest runs:
// frames on a virtio console's port, which carry messages and several streams
// of bytes at once.
//
// A frame is a header of HeaderSize bytes and a payload. A stream's data is
// sent only as far as its reader has said that it has room (credit), so that
// one that is not read holds up no other.
//
// A session is three streams and messages of its own. Session 0, the console,
// is the program's; the host begins the others, each for something that it wants
// done in the guest (Opening).
//
// docs/image.md, "The channel", is the specification. Neither side trusts the
// other: Serve, a Sender and a Receiver refuse what breaks the rules.
package channel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// PortName is the name of the virtio console's port that is the channel.
const PortName = "org.kiln.channel"

// Sizes in bytes.
const (
	HeaderSize = 8
	MaxFrame   = 32 << 10 // with its header
	MaxPayload = MaxFrame - HeaderSize
	MaxMessage = 4096 // the JSON of a message
	// Window is the credit that each stream begins with.
	Window = 256 << 10
)

// A Stream is one sequence of bytes, in one direction: the number of its session
// times 4, and which of the session's it is.
type Stream uint16

// The streams of the console, and which one a stream is of its session.
const (
	Messages Stream = 0 // the number that messages have
	Stdin    Stream = 1 // to the guest: the program's input, or what is typed on its terminal
	Stdout   Stream = 2 // to the host: the program's output, or its terminal's
	Stderr   Stream = 3 // to the host: what it writes to descriptor 2, without a terminal
)

// Session returns the session that a stream is of.
func (s Stream) Session() Session { return Session(s >> 2) }

// Role returns which of its session's streams it is: Stdin, Stdout, Stderr or
// Messages.
func (s Stream) Role() Stream { return s & 3 }

// A Session is the number of one.
type Session uint16

const (
	Console     Session = 0 // is there from the beginning
	LastSession Session = 1<<14 - 1
	// MaxSessions is how many a guest serves at once, beside the console.
	MaxSessions = 64
)

// Stream returns the number of one of the session's streams.
func (s Session) Stream(role Stream) Stream { return Stream(s)<<2 | role }

// A Kind is what a frame is.
type Kind uint8

// The kinds of frames.
const (
	KindMessage Kind = 1 // payload: JSON of a Request or Report
	KindData    Kind = 2 // payload: one byte or more of a stream
	KindEnd     Kind = 3 // no payload: the stream has no more data
	KindCredit  Kind = 4 // payload: 4 bytes, how many more bytes the stream's reader takes
)

// A Header begins a frame.
type Header struct {
	Kind   Kind
	Stream Stream
	Size   int // of the payload
}

// Put writes the header to the start of b.
func (h Header) Put(b []byte) {
	b[0], b[1] = byte(h.Kind), 0
	binary.LittleEndian.PutUint16(b[2:], uint16(h.Stream))
	binary.LittleEndian.PutUint32(b[4:], uint32(h.Size))
}

// ErrRule is wrapped by errors that say that the other side broke the rules.
var ErrRule = errors.New("channel: the other side broke the rules")

func ruleError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRule, fmt.Sprintf(format, args...))
}

// ParseHeader reads a header of HeaderSize bytes, and checks what it can.
func ParseHeader(b []byte) (Header, error) {
	h := Header{Kind: Kind(b[0]), Stream: Stream(binary.LittleEndian.Uint16(b[2:]))}
	size := binary.LittleEndian.Uint32(b[4:])
	least, most := uint32(0), uint32(0)
	switch h.Kind {
	case KindMessage:
		least, most = 1, MaxMessage
	case KindData:
		least, most = 1, MaxPayload
	case KindEnd:
	case KindCredit:
		least, most = 4, 4
	default:
		return h, ruleError("a frame of kind %d", b[0])
	}
	if size < least || size > most {
		return h, ruleError("%d bytes in a frame of kind %d", size, h.Kind)
	}
	if (h.Kind == KindMessage) != (h.Stream.Role() == Messages) || b[1] != 0 {
		return h, ruleError("a frame of kind %d on stream %d", h.Kind, h.Stream)
	}
	h.Size = int(size)
	return h, nil
}

// AppendFrame appends a frame to b.
func AppendFrame(b []byte, kind Kind, stream Stream, payload []byte) []byte {
	var h [HeaderSize]byte
	Header{kind, stream, len(payload)}.Put(h[:])
	return append(append(b, h[:]...), payload...)
}

// AppendCredit appends a frame that gives n more bytes of credit.
func AppendCredit(b []byte, stream Stream, n int) []byte {
	return AppendFrame(b, KindCredit, stream, binary.LittleEndian.AppendUint32(nil, uint32(n)))
}

// A Handler is told of frames as they come, by Serve. What it is given is valid
// until it returns. An error of its ends Serve.
type Handler interface {
	Message(s Session, b []byte) error
	Data(s Stream, b []byte) error
	End(s Stream) error
	Credit(s Stream, n int) error
}

// Serve reads frames from r until it ends, which is no error between two
// frames, or a rule is broken. It never has more than one frame in memory.
func Serve(r io.Reader, h Handler) error {
	var header [HeaderSize]byte
	var payload []byte
	for {
		if _, err := io.ReadFull(r, header[:]); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		f, err := ParseHeader(header[:])
		if err != nil {
			return err
		}
		if f.Size > cap(payload) {
			payload = make([]byte, max(f.Size, MaxMessage))
		}
		payload = payload[:f.Size]
		if _, err := io.ReadFull(r, payload); err != nil {
			return err
		}
		if err := dispatch(h, f, payload); err != nil {
			return err
		}
	}
}

// dispatch gives one frame to h.
func dispatch(h Handler, f Header, payload []byte) error {
	switch f.Kind {
	case KindMessage:
		return h.Message(f.Stream.Session(), payload)
	case KindData:
		return h.Data(f.Stream, payload)
	case KindEnd:
		return h.End(f.Stream)
	}
	n := binary.LittleEndian.Uint32(payload)
	if n == 0 || n > Window {
		return ruleError("credit of %d bytes", n)
	}
	return h.Credit(f.Stream, int(n))
}
