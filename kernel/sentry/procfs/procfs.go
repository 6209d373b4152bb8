// Package procfs is the Sentry's procfs with files of Kiln's own: where a value
// is the machine's, which the Sentry cannot know, or a bound that Kiln sets; and
// with lines of /proc/PID/status that the Sentry leaves out (status.go).
//
// The Sentry's files are made anew for each mount. A file that exists gets
// another source of its bytes (kernfs has that for its own use), one that does
// not is put into its directory.
//
// Context: goroutines of tasks.
package procfs

import (
	"bytes"
	"fmt"
	"strings"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/kernfs"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/proc"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
	"gvisor.dev/gvisor/pkg/usermem"
)

// File is a file below /proc.
type File struct {
	Path string // below /proc, without a slash at its ends
	// Read returns what the file holds.
	Read func(ctx context.Context) (string, error)
	// Write takes what root writes; nil: nobody may write.
	Write func(ctx context.Context, text string) error
}

// Number is a file with a number that never changes.
func Number(path string, n int) File {
	text := fmt.Sprintf("%d\n", n)
	return File{Path: path, Read: func(context.Context) (string, error) { return text, nil }}
}

// FilesystemType is proc.FilesystemType with Files.
type FilesystemType struct {
	proc.FilesystemType
	Files []File
}

// GetFilesystem implements vfs.FilesystemType.
func (t FilesystemType) GetFilesystem(ctx context.Context, v *vfs.VirtualFilesystem, creds *auth.Credentials, source string, opts vfs.GetFilesystemOptions) (*vfs.Filesystem, *vfs.Dentry, error) {
	fs, root, err := t.FilesystemType.GetFilesystem(ctx, v, creds, source, opts)
	if err != nil {
		return nil, nil, err
	}
	for _, f := range t.Files {
		if err := f.install(ctx, root.Impl().(*kernfs.Dentry).Inode()); err != nil {
			root.DecRef(ctx)
			fs.DecRef(ctx)
			return nil, nil, fmt.Errorf("/proc/%s: %w", f.Path, err)
		}
	}
	wrapTasks(fs, root.Impl().(*kernfs.Dentry))
	return fs, root, nil
}

// The methods of the Sentry's nodes that are used here.
type (
	directory interface {
		kernfs.Inode
		Insert(name string, child kernfs.Inode) error
	}
	dynamic interface {
		Init(ctx context.Context, creds *auth.Credentials, devMajor, devMinor uint32, ino uint64, data vfs.DynamicBytesSource, perm linux.FileMode)
	}
)

// install puts a file under root, with the directories that it needs.
func (f File) install(ctx context.Context, root kernfs.Inode) error {
	dirs := strings.Split(f.Path, "/")
	name := dirs[len(dirs)-1]
	at := root
	for _, d := range dirs[:len(dirs)-1] {
		next, err := child(ctx, at, d)
		if err != nil {
			return err
		}
		if next == nil {
			dir := kernfs.NewStaticDir(ctx, auth.CredentialsFromContext(ctx), linux.UNNAMED_MAJOR, minor(ctx, root), nextIno(), 0555, nil, kernfs.GenericDirectoryFDOptions{
				SeekEnd: kernfs.SeekEndZero,
			})
			if err := insert(at, d, dir); err != nil {
				return err
			}
			next = dir
		}
		at = next
	}
	existing, err := child(ctx, at, name)
	if err != nil {
		return err
	}
	if existing == nil {
		file := &node{}
		f.init(ctx, file, root)
		return insert(at, name, file)
	}
	d, ok := existing.(dynamic)
	if !ok {
		return fmt.Errorf("a %T takes no other source", existing)
	}
	f.init(ctx, d, root)
	return nil
}

// init makes a node the file's. Nobody has seen it yet.
func (f File) init(ctx context.Context, d dynamic, root kernfs.Inode) {
	var data vfs.DynamicBytesSource = source{f}
	mode := linux.FileMode(0444)
	if f.Write != nil {
		data, mode = writable{source{f}}, 0644
	}
	d.Init(ctx, auth.CredentialsFromContext(ctx), linux.UNNAMED_MAJOR, minor(ctx, root), nextIno(), data, mode)
}

// child returns a directory's entry, or nil if there is none. The Sentry's
// directories keep their entries for as long as they live.
func child(ctx context.Context, dir kernfs.Inode, name string) (kernfs.Inode, error) {
	d, ok := dir.(interface {
		ForEachChild(func(string, kernfs.Inode))
	})
	if !ok {
		return nil, fmt.Errorf("a %T is no directory", dir)
	}
	var found kernfs.Inode
	d.ForEachChild(func(n string, i kernfs.Inode) {
		if n == name {
			found = i
		}
	})
	return found, nil
}

func insert(dir kernfs.Inode, name string, i kernfs.Inode) error {
	d, ok := dir.(directory)
	if !ok {
		return fmt.Errorf("a %T takes no files", dir)
	}
	return d.Insert(name, i)
}

// minor returns the minor device number of the file system.
func minor(ctx context.Context, root kernfs.Inode) uint32 {
	s, err := root.Stat(ctx, nil, vfs.StatOptions{Mask: linux.STATX_INO})
	if err != nil {
		return 0
	}
	return s.DevMinor
}

// lastIno is the last inode number that was given. The Sentry counts its own
// from 1.
var lastIno atomic.Uint64

func nextIno() uint64 { return 1<<32 + lastIno.Add(1) }

// node is a file that the Sentry does not have.
type node struct{ kernfs.DynamicBytesFile }

// source gives a file's bytes. It implements vfs.DynamicBytesSource.
type source struct{ file File }

// Generate implements vfs.DynamicBytesSource.
func (s source) Generate(ctx context.Context, buf *bytes.Buffer) error {
	text, err := s.file.Read(ctx)
	buf.WriteString(text)
	return err
}

// writable is the source of a file that may be written to.
type writable struct{ source }

// mostWritten bounds what is written at once, as Linux does for files below
// /proc/sys: a page.
const mostWritten = 4095

// Write implements vfs.WritableDynamicBytesSource. As on Linux, only a write at
// the file's start counts.
func (w writable) Write(ctx context.Context, _ *vfs.FileDescription, src usermem.IOSequence, offset int64) (int64, error) {
	n := src.NumBytes()
	if n == 0 {
		return 0, nil
	}
	if offset != 0 || n > mostWritten {
		return 0, linuxerr.EINVAL
	}
	text := make([]byte, n)
	if _, err := src.CopyIn(ctx, text); err != nil {
		return 0, err
	}
	return n, w.file.Write(ctx, string(text))
}
