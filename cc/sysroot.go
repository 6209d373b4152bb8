package cc

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// DefaultSysroot returns the sysroot for the environment: $KILN_SYSROOT, or a
// folder of the user's data (XDG Base Directory Specification).
func DefaultSysroot(getenv func(string) string) (string, error) {
	if s := getenv("KILN_SYSROOT"); s != "" {
		if !filepath.IsAbs(s) {
			return "", &UsageError{"KILN_SYSROOT=" + s + " is not an absolute path"}
		}
		return filepath.Clean(s), nil
	}
	data, err := DataDir(getenv)
	return filepath.Join(data, "sysroot"), err
}

// DataDir returns the folder for what Kiln keeps for the user.
func DataDir(getenv func(string) string) (string, error) {
	return xdg(getenv, "XDG_DATA_HOME", ".local/share")
}

// CacheDir returns the folder for what Kiln can make again.
func CacheDir(getenv func(string) string) (string, error) {
	return xdg(getenv, "XDG_CACHE_HOME", ".cache")
}

// xdg returns Kiln's folder below one of the XDG Base Directories.
func xdg(getenv func(string) string, name, fallback string) (string, error) {
	// Relative paths there are to be ignored, says the specification.
	if d := getenv(name); filepath.IsAbs(d) {
		return filepath.Join(d, "kiln"), nil
	}
	home := getenv("HOME")
	if !filepath.IsAbs(home) {
		return "", &UsageError{"HOME is not set, so there is no folder for the user's files; set " + name}
	}
	return filepath.Join(home, fallback, "kiln"), nil
}

// includeFlags make the compiler find the sysroot's headers, after those of
// the user's own options and before the system's.
func includeFlags(sysroot string) []string {
	if sysroot == "" || !isDir(filepath.Join(sysroot, "include")) {
		return nil
	}
	return []string{"-isystem", filepath.Join(sysroot, "include")}
}

// libraryFlags make the linker find the sysroot's libraries; and the loader,
// if there are shared ones that the result may need.
func libraryFlags(sysroot, kind string) []string {
	lib := filepath.Join(sysroot, "lib")
	if sysroot == "" || !isDir(lib) {
		return nil
	}
	out := []string{"-L" + lib}
	if kind != Dynamic && kind != Shared {
		return out
	}
	if libs, err := filepath.Glob(filepath.Join(lib, "*.so*")); err == nil && len(libs) > 0 {
		for _, option := range []string{"-rpath-link", "-rpath"} {
			out = append(out, "-Xlinker", option, "-Xlinker", lib)
		}
	}
	return out
}

func isDir(p string) bool {
	st, err := os.Stat(p)
	return err == nil && st.IsDir()
}

// pkgConfigEnv makes pkg-config, at path, look in the sysroot first and then
// where it looks by itself.
func pkgConfigEnv(path, sysroot string) []string {
	if sysroot == "" {
		return nil
	}
	dirs := []string{filepath.Join(sysroot, "lib/pkgconfig"), filepath.Join(sysroot, "share/pkgconfig")}
	out, err := exec.Command(path, "--variable", "pc_path", "pkg-config").Output()
	if own := strings.TrimSpace(string(out)); err == nil && own != "" {
		dirs = append(dirs, own)
	}
	return []string{"PKG_CONFIG_LIBDIR=" + strings.Join(dirs, ":")}
}
