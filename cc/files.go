package cc

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Files are what build systems read to cross-compile.
type Files struct {
	CMake string // a toolchain file
	Meson string // a cross file, found by the name Tuple
	Site  string // a site file for autoconf's configure scripts
}

// cmakeText is CMake's toolchain file (cmake-toolchains(7)). CMake finds the
// other tools by the compiler's prefix. What is built runs on the build machine
// as well, which CMake wants to hear as an emulator's name.
const cmakeText = `# Written by kiln env.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR x86_64)
set(CMAKE_C_COMPILER %[1]s-gcc)
set(CMAKE_CXX_COMPILER %[1]s-g++)
set(CMAKE_ASM_COMPILER %[1]s-gcc)
find_program(PKG_CONFIG_EXECUTABLE %[1]s-pkg-config)
set(CMAKE_CROSSCOMPILING_EMULATOR /usr/bin/env)
list(PREPEND CMAKE_PREFIX_PATH "%[2]s")
if(NOT DEFINED CMAKE_INSTALL_PREFIX)
  set(CMAKE_INSTALL_PREFIX "%[2]s" CACHE PATH "")
endif()
`

// mesonText is Meson's cross file (mesonbuild.com, "Cross compilation").
const mesonText = `# Written by kiln env.
[binaries]
c = '%[1]s-gcc'
cpp = '%[1]s-g++'
ar = '%[1]s-gcc-ar'
ranlib = '%[1]s-gcc-ranlib'
nm = '%[1]s-nm'
strip = '%[1]s-strip'
objcopy = '%[1]s-objcopy'
pkg-config = '%[1]s-pkg-config'
pkgconfig = '%[1]s-pkg-config'

[host_machine]
system = 'linux'
cpu_family = 'x86_64'
cpu = 'x86_64'
endian = 'little'

[properties]
needs_exe_wrapper = false

[built-in options]
prefix = '%[2]s'
cmake_prefix_path = ['%[2]s']
`

// siteText is a site file (Autoconf's manual, "Setting Site Defaults"). It
// speaks up only where the tuple is the host.
const siteText = `# Written by kiln env.
case $host_alias in
%[1]s*)
	if test "$prefix" = NONE; then prefix='%[2]s'; fi
	;;
esac
`

// WriteFiles writes the files for the sysroot: to data, and Meson's to the
// folder below mesonData where Meson looks for it. Files that have the right
// content are left alone.
func WriteFiles(data, mesonData, sysroot string) (Files, error) {
	// Each format has its own way to quote these; nobody needs them.
	if strings.ContainsAny(sysroot, "'\"\\$\n;") {
		return Files{}, &UsageError{fmt.Sprintf("the sysroot's path %q has a quote, backslash, dollar, semicolon or newline, which build systems cannot take", sysroot)}
	}
	f := Files{
		CMake: filepath.Join(data, "toolchain", "kiln.cmake"),
		Meson: filepath.Join(mesonData, "meson", "cross", Tuple),
		Site:  filepath.Join(data, "toolchain", "config.site"),
	}
	for _, w := range []struct{ path, text string }{{f.CMake, cmakeText}, {f.Meson, mesonText}, {f.Site, siteText}} {
		if err := writeFile(w.path, fmt.Appendf(nil, w.text, Tuple, sysroot)); err != nil {
			return Files{}, err
		}
	}
	for _, dir := range []string{"bin", "include", "lib/pkgconfig"} {
		if err := os.MkdirAll(filepath.Join(sysroot, dir), 0o777); err != nil {
			return Files{}, err
		}
	}
	return f, nil
}

// writeFile replaces the file at path, unless it is as wanted.
func writeFile(path string, content []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, content) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".kiln-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // gone by then, unless something failed
	_, err = tmp.Write(content)
	if cerr := tmp.Chmod(0o644); err == nil {
		err = cerr
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
