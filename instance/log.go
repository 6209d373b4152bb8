package instance

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/docker/go-units"
)

// A log is files log.1, log.2, … of which the last is written and the first go
// as new ones come. A line of it is what Kubernetes' container runtimes write
// (CRI logging format):
//
//	2026-11-28T19:04:59.123456789Z stdout F text
//
// with P instead of F where the program's line goes on in the next of the same
// stream. The text is the program's bytes, whatever they are.

// LogOptions bound a log.
type LogOptions struct {
	MaxSize  int64 `json:"maxSize"`  // bytes of a file
	MaxFiles int   `json:"maxFiles"` // how many are kept
}

// DefaultLog is what kubelet keeps.
var DefaultLog = LogOptions{MaxSize: 10 << 20, MaxFiles: 5}

// Set sets an option as docker names it: max-size=10m, max-file=5.
func (o *LogOptions) Set(s string) error {
	key, value, _ := strings.Cut(s, "=")
	const hint = "there are max-size=SIZE, such as 10m, and max-file=NUMBER"
	switch key {
	case "max-size":
		n, err := units.RAMInBytes(value)
		if err != nil || n < 4096 {
			return fail(hint, "--log-opt %s: the least is 4k", s)
		}
		o.MaxSize = n
	case "max-file":
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > 1000 {
			return fail(hint, "--log-opt %s: want a number from 1 to 1000", s)
		}
		o.MaxFiles = n
	default:
		return fail(hint, "--log-opt %s: no such option", s)
	}
	return nil
}

// logPath returns the path of file n.
func logPath(folder string, n int) string {
	return filepath.Join(folder, "log."+strconv.Itoa(n))
}

// logFiles returns the numbers of the log's files, in order.
func logFiles(folder string) ([]int, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var files []int
	for _, e := range entries {
		if text, ok := strings.CutPrefix(e.Name(), "log."); ok {
			if n, err := strconv.Atoi(text); err == nil {
				files = append(files, n)
			}
		}
	}
	slices.Sort(files)
	return files, nil
}

// Log is a log that is written. A disk that is full costs lines, of which the
// log tells once there is room, and does not hold up the program.
type Log struct {
	folder  string
	options LogOptions

	mu     sync.Mutex
	file   *os.File // nil: none could be opened; guarded by mu
	number int      // of file; guarded by mu
	size   int64    // of file; guarded by mu
	lost   int64    // bytes of the program's that found no room; guarded by mu
	cause  error    // why; guarded by mu
	buffer []byte   // guarded by mu
}

// OpenLog opens the log of the instance, behind what it has.
func (h *Held) OpenLog() (*Log, error) {
	return openLog(h.folder, h.Config.Log)
}

func openLog(folder string, o LogOptions) (*Log, error) {
	files, err := logFiles(folder)
	if err != nil {
		return nil, err
	}
	l := &Log{folder: folder, options: o}
	if len(files) == 0 {
		return l, l.next()
	}
	l.number = files[len(files)-1]
	f, err := os.OpenFile(logPath(folder, l.number), os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return nil, err
	}
	if l.size, err = cutTorn(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	l.file = f
	return l, nil
}

// cutTorn takes off what stands behind the last whole line of f, as a process
// that was killed may have left it, and returns the size.
func cutTorn(f *os.File) (int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	size := fi.Size()
	b := make([]byte, 64<<10)
	for size > 0 {
		from := max(0, size-int64(len(b)))
		n, err := f.ReadAt(b[:size-from], from)
		if err != nil {
			return 0, err
		}
		if i := strings.LastIndexByte(string(b[:n]), '\n'); i >= 0 {
			size = from + int64(i) + 1
			break
		}
		size = from
	}
	if size == fi.Size() {
		return size, nil
	}
	return size, f.Truncate(size)
}

// next begins the next file, and removes those that are too many.
func (l *Log) next() error {
	f, err := os.OpenFile(logPath(l.folder, l.number+1), os.O_RDWR|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if l.file != nil {
		if err := l.file.Close(); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	l.file, l.size = f, 0
	l.number++
	files, err := logFiles(l.folder)
	if err != nil {
		return err
	}
	for _, n := range files[:max(0, len(files)-l.options.MaxFiles)] {
		if err := os.Remove(logPath(l.folder, n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Stream returns what writes to the log as stream, "stdout" or "stderr". Its
// Write never fails.
func (l *Log) Stream(stream string) *LogStream { return &LogStream{l, stream} }

// LogStream is one stream of a log.
type LogStream struct {
	log    *Log
	stream string
}

// maxPiece is how much of a line the log has in one of its own.
const maxPiece = 16 << 10

// Write implements io.Writer.
func (s *LogStream) Write(b []byte) (int, error) {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	s.log.write(s.stream, b, time.Now())
	return len(b), nil
}

// write appends b, which stream wrote at now.
func (l *Log) write(stream string, b []byte, now time.Time) {
	if l.lost > 0 {
		note := fmt.Sprintf("kiln: the log lacks %d bytes here: %v\n", l.lost, l.cause)
		if !l.flush(appendLines(l.buffer[:0], "stderr", []byte(note), now)) {
			l.lost += int64(len(b))
			return
		}
		l.lost = 0
	}
	for len(b) > 0 {
		piece := b[:min(len(b), 4*maxPiece)] // so that files are about as long as they should
		b = b[len(piece):]
		l.buffer = appendLines(l.buffer[:0], stream, piece, now)
		if !l.flush(l.buffer) {
			l.lost += int64(len(piece) + len(b))
			return
		}
	}
}

// flush writes whole lines to the file. It reports whether they are there.
func (l *Log) flush(lines []byte) bool {
	if l.size > 0 && l.size+int64(len(lines)) > l.options.MaxSize {
		if l.cause = l.next(); l.cause != nil {
			return false
		}
	}
	n, err := l.file.Write(lines)
	if err == nil {
		l.size += int64(n)
		return true
	}
	l.cause = err
	if n > 0 { // what was read of it meanwhile is no whole line
		if err := l.file.Truncate(l.size); err != nil {
			l.cause = errors.Join(l.cause, err)
		}
	}
	return false
}

// Close closes the log.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}

// timeFormat is RFC 3339 with nanoseconds, all of them, so that lines sort.
const timeFormat = "2006-01-02T15:04:05.000000000Z07:00"

// appendLines appends the log's lines for b to to.
func appendLines(to []byte, stream string, b []byte, now time.Time) []byte {
	var stamp [len(timeFormat) + 8]byte
	head := now.UTC().AppendFormat(stamp[:0], timeFormat)
	for len(b) > 0 {
		end := slices.Index(b, '\n')
		tag, skip := " F ", 1
		if end < 0 || end > maxPiece {
			end, tag, skip = min(len(b), maxPiece), " P ", 0
		}
		to = append(to, head...)
		to = append(to, ' ')
		to = append(to, stream...)
		to = append(to, tag...)
		to = append(to, b[:end]...)
		to = append(to, '\n')
		b = b[end+skip:]
	}
	return to
}
