package sentry

import (
	"io"

	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
	"gvisor.dev/gvisor/pkg/usermem"
	"gvisor.dev/gvisor/pkg/waiter"

	"kiln/image/channel"
	"kiln/kernel/notice"
)

// How many bytes goroutines move at once: from the host, and to it.
const (
	copySize = 16384
	outSize  = channel.MaxPayload
)

// bytesIO makes b what the Sentry's Read and Write take in place of a
// program's memory.
func bytesIO(b []byte) usermem.IOSequence { return usermem.BytesIOSequence(b) }

// isNotExist reports whether err is ENOENT.
func isNotExist(err error) bool { return linuxerr.Equals(linuxerr.ENOENT, err) }

// await calls try until it does something else than report that it would
// block, waiting in between for mask on file. It gives up when stop closes;
// the last try is then after that.
func await(file *vfs.FileDescription, mask waiter.EventMask, stop <-chan struct{}, try func() error) error {
	entry, ready := waiter.NewChannelEntry(mask)
	if err := file.EventRegister(&entry); err != nil {
		return err
	}
	defer file.EventUnregister(&entry)
	for stopped := false; ; {
		err := try()
		if stopped || !linuxerr.Equals(linuxerr.ErrWouldBlock, err) {
			return err
		}
		select {
		case <-ready:
		case <-stop:
			stopped = true
		}
	}
}

// readFile reads from a file of the Sentry. It returns io.EOF when stop is
// closed and nothing is left, or at the file's end.
func readFile(ctx context.Context, file *vfs.FileDescription, stop <-chan struct{}, b []byte) (n int, err error) {
	err = await(file, waiter.ReadableEvents|waiter.EventHUp, stop, func() error {
		got, err := file.Read(ctx, bytesIO(b), vfs.ReadOptions{})
		n = int(got)
		return err
	})
	if n == 0 && (err == nil || linuxerr.Equals(linuxerr.ErrWouldBlock, err)) {
		err = io.EOF
	}
	return n, err
}

// writeFile writes all of b to a file of the Sentry, unless stop closes.
func writeFile(ctx context.Context, file *vfs.FileDescription, stop <-chan struct{}, b []byte) error {
	for len(b) > 0 {
		err := await(file, waiter.WritableEvents|waiter.EventErr, stop, func() error {
			n, err := file.Write(ctx, bytesIO(b), vfs.WriteOptions{})
			b = b[n:]
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// lastBytes bounds what is copied of a file once nobody of whom it is known will
// write to it: what a pipe holds at most. Others may go on writing.
const lastBytes = 1 << 20

// copyOut copies what comes from a file of the Sentry to the host, until the file
// ends, or stop closes and nothing is left.
func copyOut(ctx context.Context, to io.Writer, stop <-chan struct{}, from *vfs.FileDescription) error {
	b := make([]byte, outSize)
	for left := lastBytes; left > 0; {
		n, err := readFile(ctx, from, stop, b)
		if err != nil {
			return nil // io.EOF: neither pipes nor terminals fail otherwise
		}
		if _, err := to.Write(b[:n]); err != nil {
			return err
		}
		select {
		case <-stop:
			left -= n
		default:
		}
	}
	return nil
}

// copyIn copies from the machine's console into a file of the Sentry, until
// the console ends, the file's reader is gone, or stop closes.
func copyIn(ctx context.Context, to *vfs.FileDescription, stop <-chan struct{}, from io.Reader) {
	b := make([]byte, copySize)
	for {
		n, err := from.Read(b)
		if writeFile(ctx, to, stop, b[:n]) != nil || err == io.EOF {
			return
		}
		if err != nil {
			notice.Printf("console input: %v", err)
			return
		}
	}
}
