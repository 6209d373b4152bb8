// Package fs is the contract between Kiln's own file systems (ext4, ISO 9660,
// 9P) and what serves them to programs (kernel/sentry/disk).
//
// The division of labour: a file system knows the on-disk structures and
// keeps them consistent. It caches metadata as it likes, but no file content:
// the page cache is its caller's, who reads and writes inodes through it and
// writes dirty pages back with WriteAt. Names are resolved one component at a
// time; permission checks, symbolic links across components, mounts and open
// file descriptions are the caller's too.
//
// Errors that programs see are syscall.Errno values, wrapped or not:
// errors.As finds them. Damage on disk is EUCLEAN, a device that fails is EIO.
//
// Context: ordinary goroutines; every method may be called concurrently. No
// method is called with a lock of the file system held by the caller.
package fs

import (
	"syscall"
	"time"
)

// EUCLEAN says that the structure on disk is damaged ("structure needs
// cleaning"), which package syscall has under the same name.
const EUCLEAN = syscall.EUCLEAN

// A Filesystem is one mounted file system.
type Filesystem interface {
	// Type is its name in /proc/mounts: "ext4", "iso9660", "9p".
	Type() string
	// ReadOnly reports whether it refuses changes with EROFS.
	ReadOnly() bool
	// Remote reports whether files change by other hands than the caller's,
	// so that names and attributes may not be cached.
	Remote() bool
	// Root returns the root directory, with a reference for the caller.
	Root() (Inode, error)
	Statfs() (Statfs, error)
	// Sync makes all changes so far durable.
	Sync() error
	// Unmount makes all changes durable and marks the file system clean.
	// All inodes have been released. It is not used afterwards.
	Unmount() error
}

// Statfs describes a file system, as statfs(2) reports it.
type Statfs struct {
	Magic       uint64 // f_type
	BlockSize   int64  // bytes
	Blocks      uint64
	BlocksFree  uint64
	BlocksAvail uint64 // to all but root
	Files       uint64 // inodes, 0 if not bounded
	FilesFree   uint64
	NameLen     int // longest name, bytes
}

// Attr are an inode's attributes.
type Attr struct {
	Ino    uint64
	Mode   uint32 // type and permissions, as st_mode
	Nlink  uint32
	UID    uint32
	GID    uint32
	Size   uint64
	Blocks uint64 // units of 512 bytes
	Rdev   uint64 // device number as in Linux's new_encode_dev: see Dev
	Atime  time.Time
	Mtime  time.Time
	Ctime  time.Time
	Btime  time.Time // zero if not recorded
}

// Dev encodes a device number for Attr.Rdev, as Linux passes it to user space.
func Dev(major, minor uint32) uint64 {
	return uint64(minor&0xff) | uint64(major&0xfff)<<8 | uint64(minor&^0xff)<<12
}

// SetAttr says which attributes to change: those that are not nil. Each change
// updates ctime. Size is changed by Truncate.
type SetAttr struct {
	Mode  *uint32 // permissions and set-id bits; the type stays
	UID   *uint32
	GID   *uint32
	Atime *time.Time
	Mtime *time.Time
}

// New says what a new inode shall be.
type New struct {
	Mode uint32 // type and permissions
	UID  uint32
	GID  uint32
	Rdev uint64 // of device nodes
}

// Dirent is an entry of a directory.
type Dirent struct {
	Name string
	Ino  uint64
	Type uint8 // DT_… of getdents(2), 0 if not known
	// Next is the position after this entry, for ReadDir. It is never 0.
	Next int64
}

// Rename flags, of renameat2(2).
const (
	RenameNoReplace = 1 << 0
	RenameExchange  = 1 << 1
)

// Fallocate modes, of fallocate(2).
const (
	FallocKeepSize  = 0x01
	FallocPunchHole = 0x02
	FallocZeroRange = 0x10
)

// Xattr flags, of setxattr(2).
const (
	XattrCreate  = 1
	XattrReplace = 2
)

// A NamelessMaker is a directory of a file system that has files without a name.
type NamelessMaker interface {
	// CreateNameless makes a regular file that no directory has, and returns it
	// with a reference. Until Link gives it a name, it is freed with its last
	// reference, and by the next mount after a crash.
	CreateNameless(n New) (Inode, error)
}

// An Inode is a file of any type. A file system hands out the same Inode value
// for the same inode as long as a reference to it is held.
//
// Methods that do not fit the type fail with ENOTDIR, EISDIR or EINVAL as the
// system call would; ones that the file system does not have with EOPNOTSUPP.
type Inode interface {
	// Ino is the inode number, unique in the file system while referenced.
	Ino() uint64
	// IncRef takes a further reference.
	IncRef()
	// DecRef gives one back. With the last, an inode without links is freed.
	// An error has no one to go to, so the file system logs it.
	DecRef()

	Attr() (Attr, error)
	SetAttr(SetAttr) error

	// Lookup returns the entry called name, with a reference, or ENOENT.
	// Neither "." nor ".." is looked up.
	Lookup(name string) (Inode, error)
	// ReadDir calls emit for the entries from position pos on, 0 for the
	// first, until it returns false; "." and ".." are left to the caller.
	// An entry that is there all the time is emitted exactly once in a pass,
	// whatever else is created or removed meanwhile.
	ReadDir(pos int64, emit func(Dirent) bool) error
	// Create makes a file, directory, device node, FIFO or socket in the
	// directory and returns it with a reference.
	Create(name string, n New) (Inode, error)
	Symlink(name, target string, n New) (Inode, error)
	Readlink() (string, error)
	// Link adds target, of the same file system, to the directory.
	Link(name string, target Inode) error
	// Unlink removes the entry of anything but a directory.
	Unlink(name string) error
	Rmdir(name string) error
	// Rename moves the directory's entry oldName to newDir as newName,
	// replacing what is there as rename(2) allows. The caller has made sure
	// that a directory is not moved into itself.
	Rename(oldName string, newDir Inode, newName string, flags uint32) error

	// Getxattr returns the value of an attribute, ENODATA if there is none.
	Getxattr(name string) ([]byte, error)
	Setxattr(name string, value []byte, flags uint32) error
	Removexattr(name string) error
	Listxattr() ([]string, error)

	// ReadAt reads content. It returns io.EOF with what it read if the file
	// ends before len(p) bytes. Holes read as zeros.
	ReadAt(p []byte, off int64) (int, error)
	// WriteAt writes content, allocating blocks and moving the end of the
	// file as needed. When it returns, the data has been given to the device
	// (but not flushed), and the metadata to the running transaction.
	WriteAt(p []byte, off int64) (int, error)
	// Reserve makes sure that WriteAt to this range, or a part of it, will
	// find space: it is called before the caller's cache accepts data. It
	// fails with ENOSPC. Repeated calls for the same range reserve once;
	// WriteAt, Truncate and the last DecRef give reservations back.
	Reserve(off, length int64) error
	// Truncate sets the size, freeing blocks or making a hole.
	Truncate(size int64) error
	// Fallocate allocates, zeroes or punches as mode says. The caller has
	// written back and dropped its cache of the range.
	Fallocate(mode uint32, off, length int64) error
	// SeekData and SeekHole return the next offset from off on with data, or
	// with a hole; the end of the file is a hole. ENXIO if there is none.
	SeekData(off int64) (int64, error)
	SeekHole(off int64) (int64, error)
	// Sync makes the inode durable: content given to WriteAt, what is needed
	// to find it, and unless dataOnly all its attributes (fsync, fdatasync).
	// Of directories, it makes entries durable.
	Sync(dataOnly bool) error
}
