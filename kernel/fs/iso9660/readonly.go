package iso9660

import (
	"syscall"

	"kiln/kernel/fs"
)

// Sync has nothing to do.
func (in *inode) Sync(bool) error { return nil }

// Getxattr fails: extended attributes are not read.
func (in *inode) Getxattr(string) ([]byte, error) { return nil, syscall.EOPNOTSUPP }

// Listxattr lists none.
func (in *inode) Listxattr() ([]string, error) { return nil, nil }

// What follows changes files and is refused.

func (in *inode) SetAttr(fs.SetAttr) error                         { return syscall.EROFS }
func (in *inode) Create(string, fs.New) (fs.Inode, error)          { return nil, syscall.EROFS }
func (in *inode) Symlink(string, string, fs.New) (fs.Inode, error) { return nil, syscall.EROFS }
func (in *inode) Link(string, fs.Inode) error                      { return syscall.EROFS }
func (in *inode) Unlink(string) error                              { return syscall.EROFS }
func (in *inode) Rmdir(string) error                               { return syscall.EROFS }
func (in *inode) Rename(string, fs.Inode, string, uint32) error    { return syscall.EROFS }
func (in *inode) Setxattr(string, []byte, uint32) error            { return syscall.EROFS }
func (in *inode) Removexattr(string) error                         { return syscall.EROFS }
func (in *inode) WriteAt([]byte, int64) (int, error)               { return 0, syscall.EROFS }
func (in *inode) Reserve(int64, int64) error                       { return syscall.EROFS }
func (in *inode) Truncate(int64) error                             { return syscall.EROFS }
func (in *inode) Fallocate(uint32, int64, int64) error             { return syscall.EROFS }
