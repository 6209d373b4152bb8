package instance

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// socketRoom is how long the path of the runtime folder may be, so that a
// socket's name fits behind it: sockaddr_un has 108 bytes with the final 0.
const socketRoom = 107 - len("/0123456789ab/supervisor.sock")

// stateFolder returns where instances are kept, which stays the same for a user
// whatever session asks.
func stateFolder(getenv func(string) string) (string, error) {
	if dir := getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "kiln"), nil
	}
	if home := getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "kiln"), nil
	}
	return "", fail("set HOME, or XDG_STATE_HOME", "there is no folder to keep instances in: neither XDG_STATE_HOME nor HOME is set")
}

// runtimeFolder returns the folder for the sockets of the user's instances, and
// makes it: in $XDG_RUNTIME_DIR or, where that is not set or its path is too
// long for sockets, in /run/user/UID or in the folder for temporary files.
func runtimeFolder(getenv func(string) string) (string, error) {
	uid := os.Getuid()
	var causes []error
	for _, dir := range []string{getenv("XDG_RUNTIME_DIR"), fmt.Sprintf("/run/user/%d", uid)} {
		if !filepath.IsAbs(dir) || !isDir(dir) {
			continue
		}
		dir = filepath.Join(dir, "kiln")
		if len(dir) > socketRoom {
			causes = append(causes, fmt.Errorf("%s: the path is too long for sockets", dir))
			continue
		}
		err := makePrivate(dir)
		if err == nil {
			return dir, nil
		}
		causes = append(causes, err)
	}
	for _, dir := range []string{getenv("TMPDIR"), "/tmp"} {
		dir = filepath.Join(dir, "kiln-"+strconv.Itoa(uid))
		if !filepath.IsAbs(dir) || len(dir) > socketRoom {
			continue
		}
		err := makePrivate(dir)
		if err == nil {
			return dir, nil
		}
		causes = append(causes, err)
	}
	return "", fmt.Errorf("no folder for sockets: %w", errors.Join(causes...))
}

func isDir(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.IsDir()
}

// makePrivate makes folder dir, for this user alone. One that another user made,
// as anybody can in /tmp, is refused.
func makePrivate(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	fi, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); !fi.IsDir() || !ok || int(st.Uid) != os.Getuid() {
		return fmt.Errorf("%s: not a folder of this user's", dir)
	}
	if fi.Mode().Perm()&0o077 != 0 {
		return os.Chmod(dir, 0o700)
	}
	return nil
}
