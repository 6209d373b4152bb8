package ninep

import "encoding/binary"

// Types of messages. A reply's is its request's plus one, or rlerror.
// 9P2000.L as in the Linux kernel's include/net/9p/9p.h.
const (
	rlerror      = 7
	tstatfs      = 8
	tlopen       = 12
	tlcreate     = 14
	tsymlink     = 16
	tmknod       = 18
	treadlink    = 22
	tgetattr     = 24
	tsetattr     = 26
	txattrwalk   = 30
	txattrcreate = 32
	treaddir     = 40
	tfsync       = 50
	tlink        = 70
	tmkdir       = 72
	trenameat    = 74
	tunlinkat    = 76
	tversion     = 100
	tattach      = 104
	twalk        = 110
	tread        = 116
	twrite       = 118
	tclunk       = 120
)

const (
	headerSize = 7 // size[4] type[1] tag[2]
	readHeader = headerSize + 4
	// ioHeader is more than what surrounds the data of any request.
	ioHeader = 24
	qidSize  = 13

	noTag  = 0xffff
	noFid  = 0xffffffff
	noUser = 0xffffffff

	version = "9P2000.L"
)

// Bits of a qid's type.
const (
	qidDirectory = 0x80
	qidSymlink   = 0x02
)

// qid is a server's identity of a file.
type qid struct {
	kind    uint8
	version uint32
	path    uint64 // unique among all files there are
}

// body is what a request is after its header, as it grows.
type body []byte

func (b body) u8(v uint8) body   { return append(b, v) }
func (b body) u16(v uint16) body { return binary.LittleEndian.AppendUint16(b, v) }
func (b body) u32(v uint32) body { return binary.LittleEndian.AppendUint32(b, v) }
func (b body) u64(v uint64) body { return binary.LittleEndian.AppendUint64(b, v) }

// str appends a string, of less than 64 KB: names and paths are checked.
func (b body) str(s string) body { return append(b.u16(uint16(len(s))), s...) }

// newBody starts a request of a type. Its header is filled in by session.call.
func newBody() body { return make(body, headerSize, 64) }

// reply reads what follows a reply's header. Reading past the end gives zeros
// and makes it bad.
type reply struct {
	b   []byte
	bad bool
}

// take returns the next n bytes.
func (r *reply) take(n int) []byte {
	if n > len(r.b) {
		r.b, r.bad = nil, true
		return make([]byte, n)
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

func (r *reply) u8() uint8   { return r.take(1)[0] }
func (r *reply) u16() uint16 { return binary.LittleEndian.Uint16(r.take(2)) }
func (r *reply) u32() uint32 { return binary.LittleEndian.Uint32(r.take(4)) }
func (r *reply) u64() uint64 { return binary.LittleEndian.Uint64(r.take(8)) }
func (r *reply) str() string { return string(r.take(int(r.u16()))) }

func (r *reply) qid() qid { return qid{r.u8(), r.u32(), r.u64()} }
