package instance

import (
	"bytes"
	"io"
)

// tailReader returns the whole lines of a file that grows. At its end it returns
// io.EOF, and can be asked again.
type tailReader struct {
	r      io.ReaderAt
	offset int64  // of what is not in buffer yet
	buffer []byte // read and not returned
}

// tailSize is how much is read at once: more than a line of any log.
const tailSize = 256 << 10

// ReadBytes returns the next line, with its end, which is valid until the next
// call. delim is '\n'.
func (t *tailReader) ReadBytes(delim byte) ([]byte, error) {
	for {
		if n := bytes.IndexByte(t.buffer, delim) + 1; n > 0 {
			line := t.buffer[:n]
			t.buffer = t.buffer[n:]
			return line, nil
		}
		// The beginning of a line is read again: its writer may take it back.
		begun := int64(len(t.buffer))
		t.buffer = make([]byte, tailSize)
		n, err := t.r.ReadAt(t.buffer, t.offset-begun)
		t.buffer = t.buffer[:n]
		t.offset += int64(n) - begun
		if bytes.IndexByte(t.buffer, delim) < 0 {
			t.offset -= int64(n)
			t.buffer = nil
			if err == nil { // a line of more than tailSize, which nobody writes
				err = io.ErrShortBuffer
			}
			return nil, err
		}
	}
}
