package instance

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"
)

// A Record is a piece of a log: a line, or a part of one.
type Record struct {
	Time    time.Time
	Stamp   string // Time as the log has it
	Stream  string // "stdout" or "stderr"
	Text    []byte // without the line's end; valid until the next one is read
	Partial bool   // the line goes on in the next record of the same stream
}

// parseRecord reads a line of a log.
func parseRecord(line []byte) (Record, error) {
	fields := bytes.SplitN(bytes.TrimSuffix(line, []byte("\n")), []byte(" "), 4)
	if len(fields) < 4 {
		return Record{}, fmt.Errorf("%q is no line of a log", line)
	}
	r := Record{Stamp: string(fields[0]), Stream: string(fields[1]), Text: fields[3], Partial: string(fields[2]) == "P"}
	var err error
	if r.Time, err = time.Parse(time.RFC3339Nano, r.Stamp); err != nil {
		return Record{}, err
	}
	return r, nil
}

// ReadLog calls see with the records of the instance's log, the oldest first, and
// then with those that come, until more, called again and again meanwhile,
// returns false or an error comes. missed, if not nil, is called where files went
// before they were read.
func (i *Instance) ReadLog(see func(Record) error, more func() bool, missed func()) error {
	files, err := logFiles(i.folder)
	if err != nil {
		return err
	}
	number := 0
	if len(files) > 0 {
		number = files[0]
	}
	for {
		next, err := i.readLogFile(number, see, more)
		if err != nil || next == 0 {
			return err
		}
		if next != number+1 && number != 0 && missed != nil {
			missed()
		}
		number = next
	}
}

// readLogFile reads file number of the log as it grows, and returns the number of
// the one that follows, 0 if more says that none is wanted.
func (i *Instance) readLogFile(number int, see func(Record) error, more func() bool) (next int, err error) {
	f, err := os.Open(logPath(i.folder, number))
	if errors.Is(err, fs.ErrNotExist) {
		return i.nextLogFile(number, more)
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	tail := &tailReader{r: f}
	for {
		// Asked in this order, what was written before either is read.
		again := more()
		next, err := i.followingFile(number)
		if err != nil {
			return 0, err
		}
		if err := readRecords(tail, see); err != nil || next != 0 || !again {
			return next, err
		}
	}
}

// nextLogFile waits for a file behind number.
func (i *Instance) nextLogFile(number int, more func() bool) (int, error) {
	for {
		again := more()
		next, err := i.followingFile(number)
		if err != nil || next != 0 || !again {
			return next, err
		}
	}
}

// followingFile returns the number of the oldest file behind number, 0 if there
// is none.
func (i *Instance) followingFile(number int) (int, error) {
	files, err := logFiles(i.folder)
	if errors.Is(err, fs.ErrNotExist) { // the instance was removed
		return 0, nil
	}
	if n := slices.IndexFunc(files, func(n int) bool { return n > number }); n >= 0 {
		return files[n], nil
	}
	return 0, err
}

// readRecords calls see with the records up to the end of r.
func readRecords(r lineReader, see func(Record) error) error {
	for {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		record, err := parseRecord(line)
		if err != nil {
			continue // the machine went down while it was written
		}
		if err := see(record); err != nil {
			return err
		}
	}
}
