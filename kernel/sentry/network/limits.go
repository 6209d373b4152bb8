package network

import "math/bits"

// limits bound what a stack keeps for its peers and programs. They are Linux'
// figures for a machine with as much memory.
type limits struct {
	// closing is how many connections may be in TIME-WAIT
	// (net.ipv4.tcp_max_tw_buckets).
	closing int
	// orphans is how many connections that the program has closed may still
	// have data or their end to send (net.ipv4.tcp_max_orphans).
	orphans int
}

// Linux' hash table of connections has one place for each 128 KB of memory,
// rounded up to a power of two, and at most 512 K places; limits of connections
// are shares of it (tcp_init in net/ipv4/tcp.c).
const (
	bytesPerPlace = 128 << 10
	minPlaces     = 256 // a machine of 32 MB
	maxPlaces     = 512 << 10
)

// limitsFor returns the limits of a machine with so many bytes of memory; 0
// stands for plenty.
func limitsFor(memory uint64) limits {
	places := maxPlaces
	if memory != 0 {
		n := max(memory/bytesPerPlace, 1)
		places = min(max(1<<bits.Len64(n-1), minPlaces), maxPlaces)
	}
	return limits{
		closing: places / 2,
		orphans: places / 2,
	}
}
