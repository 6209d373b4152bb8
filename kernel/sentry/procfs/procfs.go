// Package procfs is the Sentry's procfs with files of Kiln's own: where a value
// is the machine's, which the Sentry cannot know, or a bound that Kiln sets.
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
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/kernfs"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/proc"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
)

// File is a file below /proc.
type File struct {
	Path string // below /proc, without a slash at its ends
	// Read returns what the file holds.
	Read func(ctx context.Context) (string, error)
}

// Number is a file with a number that never changes.
func Number(path string, n int) File {
	text := fmt.Sprintf("%d\n", n)
	return File{path, func(context.Context) (string, error) { return text, nil }}
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
	return fs, root, nil
}

// The methods of the Sentry's nodes that are used here.
type (
	directory interface {
		kernfs.Inode
		Insert(name string, child kernfs.Inode) error
	}
	dynamic interface {
		SetDataSourceProvider(kernfs.DataSourceProvider)
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
	if existing != nil {
		d, ok := existing.(dynamic)
		if !ok {
			return fmt.Errorf("a %T takes no other source", existing)
		}
		d.SetDataSourceProvider(source{f})
		return nil
	}
	file := &node{}
	file.Init(ctx, auth.CredentialsFromContext(ctx), linux.UNNAMED_MAJOR, minor(ctx, root), nextIno(), source{f}, 0444)
	return insert(at, name, file)
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

// source gives a file's bytes. It implements kernfs.DataSourceProvider and
// vfs.DynamicBytesSource.
type source struct{ file File }

func (s source) DataSource(context.Context) (vfs.DynamicBytesSource, error) { return s, nil }

// Generate implements vfs.DynamicBytesSource.
func (s source) Generate(ctx context.Context, buf *bytes.Buffer) error {
	text, err := s.file.Read(ctx)
	buf.WriteString(text)
	return err
}
