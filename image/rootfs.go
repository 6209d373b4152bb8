package image

import (
	"io"

	"kiln/image/bootinfo"
)

// RootFS returns the image's root file system, which is EROFS, or nil if it has
// none. r is what img was read from.
func (img *Image) RootFS(r io.ReaderAt) (*io.SectionReader, error) {
	at := img.Header.RootFS
	if at.Size == 0 {
		return nil, nil
	}
	off, ok := img.offset(at)
	if !ok {
		return nil, &FormatError{img.Segments[0].Off + bootinfo.HeaderOffset, "boot header: the root file system is not in the file, address", at.Addr}
	}
	return io.NewSectionReader(r, off, int64(at.Size)), nil
}
