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
	"time"
)

// Store is all instances of a user.
type Store struct {
	folder string
	getenv func(string) string
}

// Open returns the store of the user who has this environment. Nothing is made
// yet.
func Open(getenv func(string) string) (*Store, error) {
	folder, err := stateFolder(getenv)
	if err != nil {
		return nil, err
	}
	return &Store{folder, getenv}, nil
}

// Find returns the instance of this user's that goes by name: its identifier,
// its name, an unambiguous beginning of its identifier, or the number of its
// supervisor's or QEMU's process, in this order. The error is an *Error if there
// is none.
func Find(name string) (*Instance, error) {
	s, err := Open(os.Getenv)
	if err != nil {
		return nil, err
	}
	return s.Find(name)
}

// Find is the function Find for store s.
func (s *Store) Find(name string) (*Instance, error) {
	all, err := s.List()
	if err != nil && len(all) == 0 {
		return nil, err
	}
	return match(all, name)
}

func match(all []*Instance, name string) (*Instance, error) {
	for _, is := range []func(*Instance) bool{
		func(i *Instance) bool { return i.ID == name },
		func(i *Instance) bool { return i.Name == name },
	} {
		if n := slices.IndexFunc(all, is); n >= 0 {
			return all[n], nil
		}
	}
	var found []*Instance
	for _, i := range all {
		if name != "" && strings.HasPrefix(i.ID, name) {
			found = append(found, i)
		}
	}
	if len(found) == 0 {
		if pid, err := strconv.Atoi(name); err == nil && pid > 0 {
			found = withProcess(all, pid)
		}
	}
	switch len(found) {
	case 0:
		return nil, &Error{Msg: "no such instance: " + name, Hint: "kiln ps -a lists them", Missing: true}
	case 1:
		return found[0], nil
	}
	return nil, fail("write more of it", "%s is the beginning of several instances' identifiers", name)
}

// withProcess returns those of all whose supervisor or QEMU is process pid.
func withProcess(all []*Instance, pid int) []*Instance {
	return slices.DeleteFunc(slices.Clone(all), func(i *Instance) bool {
		return !i.Up() || i.State.PID != pid && i.State.Guest.PID != pid
	})
}

// FindProcess returns the instance whose supervisor or QEMU is process pid, nil
// if there is none.
func (s *Store) FindProcess(pid int) (*Instance, error) {
	all, err := s.List()
	if found := withProcess(all, pid); len(found) > 0 {
		return found[0], nil
	}
	return nil, err
}

// List returns all instances, the youngest first. What supervisors that were
// killed have left is put right before. The error, if any, is about those that
// are missing in the list.
func (s *Store) List() ([]*Instance, error) {
	entries, err := os.ReadDir(s.instances())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []*Instance
	var errs []error
	for _, e := range entries {
		i, err := s.look(e.Name())
		if err != nil {
			errs = append(errs, err)
		} else if i != nil {
			all = append(all, i)
		}
	}
	slices.SortFunc(all, func(a, b *Instance) int { return b.Created.Compare(a.Created) })
	return all, errors.Join(errs...)
}

func (s *Store) instances() string { return filepath.Join(s.folder, "instances") }

// look returns instance id as it is, nil if there is none.
func (s *Store) look(id string) (*Instance, error) {
	for wait := 0; ; wait++ {
		// In this order: a supervisor writes its last state before it lets go.
		locked, err := isLocked(filepath.Join(s.instances(), id, lockFile))
		if err != nil {
			return nil, err
		}
		i, err := s.load(id)
		if locked && err == nil && i.Up() && wait < maxWait && !isAlive(i.State.PID) {
			time.Sleep(exitTime / maxWait) // the kernel has not closed its files yet
			continue
		}
		if locked || err == nil && !i.orphaned() {
			if errors.Is(err, fs.ErrNotExist) || err == nil && i.State.Status == Creating {
				return nil, nil // being made or removed
			}
			if err == nil {
				i.locked = locked
			}
			return i, err
		}
		if err := s.settle(id); err != nil {
			return nil, err
		}
		if !isDir(filepath.Join(s.instances(), id)) {
			return nil, nil
		}
	}
}

// exitTime is how long a process that is dead may hold a lock: longer where
// whoever asks cannot see it, as in a container.
const (
	exitTime = time.Second
	maxWait  = 100
)

// orphaned reports whether the records are not those of an instance that ended
// in order. Nobody holds its lock.
func (i *Instance) orphaned() bool {
	return i.State.Status != Exited || i.State.PID != 0 || i.State.Runtime != "" || i.Remove
}

// load reads the records of instance id.
func (s *Store) load(id string) (*Instance, error) {
	i := &Instance{store: s, folder: filepath.Join(s.instances(), id)}
	if err := readRecord(filepath.Join(i.folder, configFile), &i.Config); err != nil {
		return nil, err
	}
	return i, i.reload()
}

func (i *Instance) reload() error {
	return readRecord(filepath.Join(i.folder, stateFile), &i.State)
}

// lock takes the store's lock. unlock lets go of it.
func (s *Store) lock() (unlock func(), err error) {
	if err := os.MkdirAll(s.instances(), 0o700); err != nil {
		return nil, err
	}
	f, err := openLock(filepath.Join(s.folder, lockFile))
	if err != nil {
		return nil, err
	}
	if err := waitLock(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { f.Close() }, nil
}

// killedStatus is the exit status of a guest that went with its supervisor.
const killedStatus = 137

// settle puts right what a supervisor or a tool that was killed has left of
// instance id, if it has.
func (s *Store) settle(id string) error {
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	folder := filepath.Join(s.instances(), id)
	f, err := os.OpenFile(filepath.Join(folder, lockFile), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		// Folders are made under the store's lock, so this one is not in the
		// making: a removal was cut short.
		return os.RemoveAll(folder)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := tryLock(f); errors.Is(err, errLocked) {
		return nil // it was started in between
	} else if err != nil {
		return err
	}
	i, err := s.load(id)
	if errors.Is(err, fs.ErrNotExist) {
		return os.RemoveAll(folder)
	}
	if err != nil {
		return err
	}
	h := &Held{Instance: i, lock: f}
	if err := h.bury(); err != nil {
		return err
	}
	if i.State.Status == Creating || i.Remove {
		return h.removeLocked()
	}
	return nil
}

// Create makes an instance of c, whose ID, Created and, if it is "", Name it
// sets. The instance is in status Creating, and goes away with this process
// unless it is started before.
func (s *Store) Create(c Config) (*Held, error) {
	if c.Name != "" {
		if err := checkName(c.Name); err != nil {
			return nil, err
		}
	}
	unlock, err := s.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	names, err := s.names()
	if err != nil {
		return nil, err
	}
	if c.Name == "" {
		c.Name = inventName(func(name string) bool { return names[name] != "" })
	} else if id := names[c.Name]; id != "" {
		return nil, nameTaken(c.Name, id)
	}
	c.Created = time.Now()
	for c.ID = newID(); isDir(filepath.Join(s.instances(), c.ID)); {
		c.ID = newID()
	}
	return s.make(c)
}

func nameTaken(name, id string) error {
	return fail("kiln rm "+name+" removes that one, kiln rename gives it another name", "the name %q is in use by instance %s", name, id)
}

// names returns the identifiers of all instances, with those in the making, by
// their names. Context: the store's lock is held.
func (s *Store) names() (map[string]string, error) {
	entries, err := os.ReadDir(s.instances())
	if err != nil {
		return nil, err
	}
	names := make(map[string]string)
	for _, e := range entries {
		var c Config
		err := readRecord(filepath.Join(s.instances(), e.Name(), configFile), &c)
		if err != nil {
			continue // the remains of a removal; settle says what is wrong with others
		}
		names[c.Name] = c.ID
	}
	return names, nil
}

// make makes the folder of instance c, and locks it.
func (s *Store) make(c Config) (_ *Held, err error) {
	folder := filepath.Join(s.instances(), c.ID)
	if err := os.Mkdir(folder, 0o700); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(folder))
		}
	}()
	f, err := openLock(filepath.Join(folder, lockFile))
	if err != nil {
		return nil, err
	}
	h := &Held{Instance: &Instance{Config: c, State: State{Status: Creating, PID: os.Getpid()}, store: s, folder: folder}, lock: f}
	err = tryLock(f)
	if err == nil {
		err = h.save()
	}
	if err == nil {
		err = writeRecord(filepath.Join(folder, configFile), c)
	}
	if err == nil {
		err = h.Note(EventCreate, nil)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return h, nil
}

// Rename gives the instance another name.
func (i *Instance) Rename(name string) error {
	s := i.store
	if err := checkName(name); err != nil {
		return err
	}
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	names, err := s.names()
	if err != nil {
		return err
	}
	if id := names[name]; id != "" {
		return nameTaken(name, id)
	}
	path := filepath.Join(i.folder, configFile)
	var c Config
	if err := readRecord(path, &c); err != nil {
		return fmt.Errorf("%s: %w", i.Name, err)
	}
	old := c.Name
	c.Name = name
	if err := writeRecord(path, c); err != nil {
		return err
	}
	i.Config = c
	return i.Note(EventRename, map[string]string{"oldName": old})
}
