package network

import "math/bits"

// limits bound what a stack keeps for its peers and programs. They are Linux'
// figures for a machine with as much memory, where Linux has one.
type limits struct {
	// closing is how many connections may be in TIME-WAIT
	// (net.ipv4.tcp_max_tw_buckets).
	closing int
	// orphans is how many connections that the program has closed may still
	// have data or their end to send (net.ipv4.tcp_max_orphans).
	orphans int
	// halfOpen is how many connections may wait for their peer's second
	// segment; beyond it they are made by SYN cookies
	// (net.ipv4.tcp_max_syn_backlog).
	halfOpen int
	// open is how many connections there may be before no more are taken from
	// outside. Linux has no such limit; a connection takes 3 KB there, here 10.
	open int
	// tcp and udp are what the data in sockets may take (net.ipv4.tcp_mem,
	// udp_mem).
	tcp, udp span
}

// span is a range of bytes: over pressure buffers shrink, until there is less
// than low, and over most data is not taken.
type span struct{ low, pressure, most int }

// Linux' hash table of connections has one place for each 128 KB of memory,
// rounded up to a power of two, and at most 512 K places; limits of connections
// are shares of it (tcp_init in net/ipv4/tcp.c).
const (
	bytesPerPlace = 128 << 10
	minPlaces     = 256 // a machine of 32 MB
	maxPlaces     = 512 << 10

	minHalfOpen          = 128
	placesPerOpen        = 128 // places for each half-open connection more
	bytesPerOpen         = 24 << 10
	tcpShare             = 16 // tcp_mem[1] is a 16th of memory, tcp_init_mem
	udpShare             = 8  // udp_mem[1] is an eighth, udp_init
	minSpan              = 512 << 10
	plenty        uint64 = 64 << 30 // where the machine's memory is unknown
)

// limitsFor returns the limits of a machine with so many bytes of memory; 0
// stands for plenty.
func limitsFor(memory uint64) limits {
	if memory == 0 {
		memory = plenty
	}
	places := min(max(1<<bits.Len64(max(memory/bytesPerPlace, 1)-1), minPlaces), maxPlaces)
	return limits{
		closing:  places / 2,
		orphans:  places / 2,
		halfOpen: max(places/placesPerOpen, minHalfOpen),
		open:     int(max(memory/bytesPerOpen, minHalfOpen)),
		tcp:      spanFor(memory / tcpShare),
		udp:      spanFor(memory / udpShare),
	}
}

// spanFor returns the range with so many bytes as pressure. Linux has the
// smallest at three quarters of that, the greatest at one and a half times.
func spanFor(bytes uint64) span {
	pressure := int(max(bytes, minSpan))
	return span{pressure / 4 * 3, pressure, pressure / 2 * 3}
}
