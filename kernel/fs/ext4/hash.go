package ext4

import "math/bits"

// hashEnd is the largest hash; names do not have it.
const hashEnd = 0x7fffffff << 1

// hashName returns the hash of a name: bit 0 is clear. version is 0 to 2.
func (s *superblock) hashName(version uint8, name string) uint32 {
	buf := [4]uint32{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}
	if s.hashSeed != [4]uint32{} {
		buf = s.hashSeed
	}
	var h uint32
	switch version {
	case hashLegacy:
		h = hashOld(name, s.unsigned)
	case hashHalfMD4:
		var in [8]uint32
		for p := name; len(p) > 0; p = p[min(32, len(p)):] {
			hashWords(in[:], p, s.unsigned)
			halfMD4(&buf, &in)
		}
		h = buf[1]
	case hashTEA:
		var in [4]uint32
		for p := name; len(p) > 0; p = p[min(16, len(p)):] {
			hashWords(in[:], p, s.unsigned)
			tea(&buf, &in)
		}
		h = buf[0]
	}
	h &^= 1
	if h == hashEnd {
		h = hashEnd - 2
	}
	return h
}

// char returns a character as the hashes count it: on most machines it is
// signed, and the superblock says which.
func char(c byte, unsigned bool) uint32 {
	if unsigned {
		return uint32(c)
	}
	return uint32(int32(int8(c)))
}

func hashOld(name string, unsigned bool) uint32 {
	h0, h1 := uint32(0x12a3fe2d), uint32(0x37abe8f9)
	for i := range len(name) {
		h := h1 + (h0 ^ char(name[i], unsigned)*7152373)
		if h&0x80000000 != 0 {
			h -= 0x7fffffff
		}
		h1, h0 = h0, h
	}
	return h0 << 1
}

// hashWords packs a name into words, padded with its length.
func hashWords(out []uint32, p string, unsigned bool) {
	pad := uint32(len(p))
	pad |= pad << 8
	pad |= pad << 16
	n := min(len(p), 4*len(out))
	for i := range out {
		v := pad
		for j := 4 * i; j < min(4*i+4, n); j++ {
			v = char(p[j], unsigned) + v<<8
		}
		out[i] = v
	}
}

// halfMD4 mixes in into buf with three rounds of MD4, each half as long.
func halfMD4(buf *[4]uint32, in *[8]uint32) {
	const k2, k3 = 0x5a827999, 0x6ed9eba1
	f := func(x, y, z uint32) uint32 { return z ^ x&(y^z) }
	g := func(x, y, z uint32) uint32 { return x&y + (x^y)&z }
	h := func(x, y, z uint32) uint32 { return x ^ y ^ z }
	rounds := [3]struct {
		mix   func(x, y, z uint32) uint32
		add   uint32
		order [8]int
		turn  [4]int
	}{
		{f, 0, [8]int{0, 1, 2, 3, 4, 5, 6, 7}, [4]int{3, 7, 11, 19}},
		{g, k2, [8]int{1, 3, 5, 7, 0, 2, 4, 6}, [4]int{3, 5, 9, 13}},
		{h, k3, [8]int{3, 7, 2, 6, 1, 5, 0, 4}, [4]int{3, 9, 11, 15}},
	}
	a, b, c, d := buf[0], buf[1], buf[2], buf[3]
	for _, r := range rounds {
		for i, word := range r.order {
			a = bits.RotateLeft32(a+r.mix(b, c, d)+in[word]+r.add, r.turn[i%4])
			a, b, c, d = d, a, b, c
		}
	}
	buf[0] += a
	buf[1] += b
	buf[2] += c
	buf[3] += d
}

// tea mixes in into buf with 16 rounds of the Tiny Encryption Algorithm.
func tea(buf *[4]uint32, in *[4]uint32) {
	const delta = 0x9e3779b9
	x, y, sum := buf[0], buf[1], uint32(0)
	for range 16 {
		sum += delta
		x += (y<<4 + in[0]) ^ (y + sum) ^ (y>>5 + in[1])
		y += (x<<4 + in[2]) ^ (x + sum) ^ (x>>5 + in[3])
	}
	buf[0] += x
	buf[1] += y
}
