package image

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"sync"
)

// An image ends in a trailer: trailerMagic, then the CRC-32C of all that is
// before the trailer, as 8 bytes little endian. It tells a file that was cut
// short or damaged from one that only its program can break. It is no defence
// against whoever can compute a checksum.
const (
	trailerMagic = "KILNSUM\x01"
	trailerSize  = int64(len(trailerMagic) + 8)
)

// castagnoli is made when it is first needed: the guest, which has this
// package for the manifest, sums nothing, and making it costs its boot 12 ms.
var castagnoli = sync.OnceValue(func() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) })

// checksumBlock is how much is read at a time, in bytes: small enough to stay
// in the CPU's cache on the way to the sum.
const checksumBlock = 128 << 10

// Trailer returns the trailer for the image that r reads.
func Trailer(r io.Reader) ([]byte, error) {
	sum := crc32.New(castagnoli())
	if _, err := io.CopyBuffer(sum, struct{ io.Reader }{r}, make([]byte, checksumBlock)); err != nil {
		return nil, err
	}
	return binary.LittleEndian.AppendUint64([]byte(trailerMagic), uint64(sum.Sum32())), nil
}

// checkTrailer compares the image in r with its trailer.
func checkTrailer(r io.ReaderAt, size int64) error {
	end := size - trailerSize
	if end < 0 {
		return &FormatError{0, "the file is cut short: its size", size}
	}
	got := make([]byte, trailerSize)
	if _, err := r.ReadAt(got, end); err != nil {
		return err
	}
	if string(got[:len(trailerMagic)]) != trailerMagic {
		return &FormatError{end, "the file is cut short: no checksum", nil}
	}
	want, err := Trailer(io.NewSectionReader(r, 0, end))
	if err != nil {
		return err
	}
	if string(got) != string(want) {
		return &FormatError{end, "the file was damaged: checksum", binary.LittleEndian.Uint64(got[len(trailerMagic):])}
	}
	return nil
}
