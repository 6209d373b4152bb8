package instance

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Held is an instance whose lock this process holds: it alone may change its
// state, until Release.
type Held struct {
	*Instance
	lock *os.File
}

// ErrUp says that another process holds an instance's lock: it runs, or is about
// to be started or removed.
var ErrUp = errors.New("it runs")

// Hold takes the instance's lock. The error is ErrUp if another process has it.
func (i *Instance) Hold() (*Held, error) {
	f, err := os.OpenFile(filepath.Join(i.folder, lockFile), os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &Error{Msg: "no such instance: " + i.Name, Missing: true}
	}
	if err != nil {
		return nil, err
	}
	if err := tryLock(f); err != nil {
		if errors.Is(err, errLocked) {
			err = ErrUp
		}
		return nil, errors.Join(err, f.Close())
	}
	h := &Held{Instance: i, lock: f}
	if err := i.reload(); err != nil { // it may have been removed in between
		return nil, errors.Join(fmt.Errorf("%s: %w", i.Name, err), f.Close())
	}
	if err := h.bury(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return h, nil
}

// Inherit returns instance id, whose lock this process got from the one that
// started it, as file descriptor fd.
func (s *Store) Inherit(id string, fd uintptr) (*Held, error) {
	syscall.CloseOnExec(int(fd)) // QEMU must not keep the lock
	i, err := s.load(id)
	if err != nil {
		return nil, err
	}
	return &Held{Instance: i, lock: os.NewFile(fd, filepath.Join(i.folder, lockFile))}, nil
}

// LockFile returns the file that a process must inherit to hold the lock.
func (h *Held) LockFile() *os.File { return h.lock }

// Release lets go of the lock, unless a process has inherited it.
func (h *Held) Release() error { return h.lock.Close() }

// save writes the state.
func (h *Held) save() error { return writeRecord(filepath.Join(h.folder, stateFile), h.State) }

// SetProgram records what runs in the guest.
func (h *Held) SetProgram(program []string) error {
	unlock, err := h.store.lock()
	if err != nil {
		return err
	}
	defer unlock()
	path := filepath.Join(h.folder, configFile)
	if err := readRecord(path, &h.Config); err != nil { // a new name, perhaps
		return err
	}
	h.Program = program
	return writeRecord(path, h.Config)
}

// Supervise says that this process looks after the instance from now on, and
// that it runs. It makes the runtime folder.
func (h *Held) Supervise() error {
	dir, err := h.makeRuntime()
	if err != nil {
		return err
	}
	h.State.PID, h.State.Runtime, h.State.Restarts = os.Getpid(), dir, 0
	h.State.Status, h.State.Started, h.State.Finished = Running, time.Now(), time.Time{}
	return h.save()
}

// makeRuntime makes the folder of the instance's sockets.
func (h *Held) makeRuntime() (dir string, err error) {
	for range 10 {
		if dir, err = runtimeFolder(h.store.getenv); err != nil {
			return "", err
		}
		dir = filepath.Join(dir, h.ID)
		err = os.Mkdir(dir, 0o700)
		if !errors.Is(err, fs.ErrNotExist) { // or the last instance that ended has removed the parent
			break
		}
	}
	if errors.Is(err, fs.ErrExist) {
		return dir, nil
	}
	return dir, err
}

// SetRunning says that QEMU runs, as process pid, and where it listens.
func (h *Held) SetRunning(pid int, ports []Port) error {
	h.State.Status, h.State.Guest, h.State.Ports = Running, NewProcess(pid), ports
	h.State.Started, h.State.Runs = time.Now(), h.State.Runs+1
	h.State.Finished, h.State.ExitCode, h.State.Error = time.Time{}, 0, ""
	return errors.Join(h.save(), h.Note(EventStart, nil))
}

// SetEnded says that the guest has ended, and whether another one will start.
func (h *Held) SetEnded(code int, reason string, again bool) error {
	h.State.Status, h.State.Guest, h.State.Ports = Exited, Process{}, nil
	h.State.Finished, h.State.ExitCode, h.State.Error = time.Now(), code, reason
	if again {
		h.State.Status = Restarting
		h.State.Restarts++
	}
	return errors.Join(h.save(), h.Note(EventDie, map[string]string{"exitCode": fmt.Sprint(code)}))
}

// Leave says that this process no longer looks after the instance, whose guest
// has ended, and lets go of the lock. An instance that was made to go away
// does, and so does one that never ran.
func (h *Held) Leave() error {
	err := h.closeRuntime()
	if h.Remove || h.State.Status == Creating {
		return errors.Join(err, h.RemoveHeld())
	}
	h.State.PID, h.State.Status = 0, Exited
	return errors.Join(err, h.save(), h.Release())
}

func (h *Held) closeRuntime() error {
	if h.State.Runtime == "" {
		return nil
	}
	dir := h.State.Runtime
	h.State.Runtime = ""
	err := os.RemoveAll(dir)
	// The parent goes with the last one; until then it cannot be removed.
	_ = os.Remove(filepath.Dir(dir))
	return err
}

// bury records the end of an instance whose supervisor was killed, and takes
// away what that has left.
func (h *Held) bury() error {
	if !h.orphaned() {
		return nil
	}
	// The kernel has killed QEMU with its supervisor (qemu.Start).
	if err := h.State.Guest.end(); err != nil {
		return err
	}
	if err := h.closeRuntime(); err != nil {
		return err
	}
	h.State.PID = 0
	switch h.State.Status {
	case Running:
		return h.SetEnded(killedStatus, "its supervisor was killed", false)
	case Restarting: // no guest ran: the last one's end is recorded
		h.State.Status = Exited
	}
	return h.save()
}

// RemoveHeld removes the instance and lets go of its lock.
func (h *Held) RemoveHeld() error {
	unlock, err := h.store.lock()
	if err != nil {
		return errors.Join(err, h.Release())
	}
	defer unlock()
	return errors.Join(h.removeLocked(), h.Release())
}

// removeLocked removes the instance's folder, the records first: what is left if
// it is cut short is no instance.
//
// Context: the store's lock is held.
func (h *Held) removeLocked() error {
	if err := h.closeRuntime(); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(h.folder, configFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := os.RemoveAll(h.folder)
	if h.State.Status != Creating {
		err = errors.Join(err, h.Note(EventDestroy, nil))
	}
	return err
}
