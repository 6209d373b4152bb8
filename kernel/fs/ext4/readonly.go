package ext4

import (
	"syscall"

	"kiln/kernel/fs"
)

func (f *FS) Sync() error    { return nil }
func (f *FS) Unmount() error { return nil }

func (f *FS) begin(int) error     { return syscall.EROFS }
func (f *FS) end()                {}
func (n *inode) touch(bool) error { return syscall.EROFS }

const creditsInode = 4

type orphanState struct{}
type ranges struct{}

func (f *FS) release(n *inode) {
	f.imu.Lock()
	defer f.imu.Unlock()
	if n.refs == 0 {
		delete(f.inodes, n.ino)
	}
}

func (n *inode) Create(string, fs.New) (fs.Inode, error)         { return nil, syscall.EROFS }
func (n *inode) Symlink(_, _ string, _ fs.New) (fs.Inode, error) { return nil, syscall.EROFS }
func (n *inode) Link(string, fs.Inode) error                     { return syscall.EROFS }
func (n *inode) Unlink(string) error                             { return syscall.EROFS }
func (n *inode) Rmdir(string) error                              { return syscall.EROFS }
func (n *inode) Rename(string, fs.Inode, string, uint32) error   { return syscall.EROFS }
func (n *inode) Getxattr(string) ([]byte, error)                 { return nil, syscall.EOPNOTSUPP }
func (n *inode) Setxattr(string, []byte, uint32) error           { return syscall.EROFS }
func (n *inode) Removexattr(string) error                        { return syscall.EROFS }
func (n *inode) Listxattr() ([]string, error)                    { return nil, nil }
func (n *inode) WriteAt([]byte, int64) (int, error)              { return 0, syscall.EROFS }
func (n *inode) Reserve(int64, int64) error                      { return syscall.EROFS }
func (n *inode) Truncate(int64) error                            { return syscall.EROFS }
func (n *inode) Fallocate(uint32, int64, int64) error            { return syscall.EROFS }
func (n *inode) Sync(bool) error                                 { return nil }
