package instance

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// An Event is something that happened to an instance.
type Event struct {
	Time       time.Time         `json:"time"`
	Action     string            `json:"action"` // one of the constants
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	Image      string            `json:"image"`
	Attributes map[string]string `json:"attributes,omitempty"` // labels, and what the action is about
}

// The actions.
const (
	EventCreate  = "create"
	EventStart   = "start"   // QEMU runs
	EventAttach  = "attach"  // somebody's input goes to it
	EventKill    = "kill"    // a signal was sent: signal
	EventDie     = "die"     // the guest has ended: exitCode
	EventStop    = "stop"    // by kiln stop
	EventRestart = "restart" // by kiln restart
	EventRename  = "rename"  // oldName
	EventDestroy = "destroy" // it was removed
)

// maxEvents is how long the file of events may become until it is the old one.
const maxEvents = 1 << 20

func (s *Store) eventFiles() (current, old string) {
	current = filepath.Join(s.folder, "events")
	return current, current + ".old"
}

// Note records an event of the instance's.
func (i *Instance) Note(action string, attributes map[string]string) error {
	e := Event{Time: time.Now(), Action: action, ID: i.ID, Name: i.Name, Image: i.Image, Attributes: maps.Clone(i.Labels)}
	var c Config
	if err := readRecord(filepath.Join(i.folder, configFile), &c); err == nil {
		e.Name = c.Name // kiln rename may have been here
	}
	if e.Attributes == nil {
		e.Attributes = attributes
	} else {
		maps.Copy(e.Attributes, attributes)
	}
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return i.store.appendEvent(append(line, '\n'))
}

// appendEvent appends line to the current file.
func (s *Store) appendEvent(line []byte) error {
	current, old := s.eventFiles()
	for {
		f, err := os.OpenFile(current, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		if err := waitLock(f); err != nil {
			return errors.Join(err, f.Close())
		}
		fi, err := f.Stat()
		if err != nil {
			return errors.Join(err, f.Close())
		}
		// Another one may have made it the old one while we waited.
		if now, err := os.Stat(current); err != nil || !os.SameFile(fi, now) {
			f.Close()
			continue
		}
		if fi.Size() >= maxEvents {
			err := os.Rename(current, old)
			if err = errors.Join(err, f.Close()); err != nil {
				return err
			}
			continue
		}
		n, err := f.Write(line)
		if err != nil && n > 0 { // the disk is full
			err = errors.Join(err, f.Truncate(fi.Size()))
		}
		return errors.Join(err, f.Close())
	}
}

// Events calls see with all events that are recorded, the oldest first, and then
// with those that happen, until more, called again and again meanwhile, returns
// false or an error comes.
func (s *Store) Events(see func(Event) error, more func() bool) error {
	current, old := s.eventFiles()
	// The next file is opened before this one is read to its end.
	if f, err := os.Open(old); err == nil {
		err := readEvents(bufio.NewReader(f), see)
		f.Close()
		if err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for {
		f, err := os.Open(current)
		if errors.Is(err, fs.ErrNotExist) {
			if !more() {
				return nil
			}
			continue
		}
		if err != nil {
			return err
		}
		again, err := s.followEvents(f, see, more)
		f.Close()
		if err != nil || !again {
			return err
		}
	}
}

// LastStatus returns the exit status of the last guest that ended, by the events
// that are kept.
func (i *Instance) LastStatus() (int, error) {
	code := ""
	err := i.store.Events(func(e Event) error {
		if e.ID == i.ID && e.Action == EventDie {
			code = e.Attributes["exitCode"]
		}
		return nil
	}, func() bool { return false })
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(code)
	if err != nil {
		return 0, fmt.Errorf("%s was removed before its status was read", i.Name)
	}
	return n, nil
}

// followEvents reads f, the current file, until it no longer is. It reports
// whether there is another one.
func (s *Store) followEvents(f *os.File, see func(Event) error, more func() bool) (again bool, err error) {
	current, _ := s.eventFiles()
	tail := &tailReader{r: f}
	for {
		fi, err := f.Stat()
		if err != nil {
			return false, err
		}
		now, err := os.Stat(current)
		replaced := err == nil && !os.SameFile(fi, now)
		if err := readEvents(tail, see); err != nil || replaced {
			return replaced, err
		}
		if !more() {
			return false, nil
		}
	}
}

// lineReader is a source of lines.
type lineReader interface {
	ReadBytes(delim byte) ([]byte, error)
}

// readEvents calls see with the events up to the end of r.
func readEvents(r lineReader, see func(Event) error) error {
	for {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var e Event
		if json.Unmarshal(line, &e) != nil {
			continue // cut short by a full disk or the end of the machine
		}
		if err := see(e); err != nil {
			return err
		}
	}
}
