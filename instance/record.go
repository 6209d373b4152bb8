package instance

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// writeRecord writes v to path as JSON. Readers see the old or the new one: what
// is there is replaced once the new one is whole. Only on a disk that is full it
// is written over, which takes no room.
func writeRecord(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	data = append(data, '\n')
	err = replaceFile(path, data)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		if overwriteFile(path, data) == nil {
			return nil
		}
	}
	return err
}

// replaceFile puts a new file with data in the place of path.
func replaceFile(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}

// overwriteFile writes data over the file at path, which exists. What is
// shorter than before is filled up with spaces: the file's blocks stay its own.
func overwriteFile(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	fi, err := f.Stat()
	if err == nil {
		if missing := int(fi.Size()) - len(data); missing > 0 {
			data = append(data, bytes.Repeat([]byte{' '}, missing)...)
		}
		_, err = f.WriteAt(data, 0)
	}
	return errors.Join(err, f.Close())
}

// readRecord reads what writeRecord wrote.
func readRecord(path string, v any) error {
	for try := 0; ; try++ {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err = json.Unmarshal(data, v); err == nil {
			return nil
		}
		if try == 3 {
			return fmt.Errorf("%s: %w", path, err)
		}
		time.Sleep(5 * time.Millisecond) // it may be written over
	}
}
