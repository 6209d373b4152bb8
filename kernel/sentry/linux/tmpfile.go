package linux

import (
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/atomicbitops"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
	gsync "gvisor.dev/gvisor/pkg/sync"
)

// tmpfileCorrection: open(2) with O_TMPFILE, and linkat(2) of what it opened.
//
// Linux makes a file without a name, which linkat may give one later
// (vfs_tmpfile and vfs_link in fs/namei.c; shmem_tmpfile in mm/shmem.c). gVisor's
// tmpfs and overlay do not make such files. test/linux/src/tmpfile.c.
//
// The file is made as these file systems make theirs, but for the name: an inode of
// tmpfs without links, and in an overlay a dentry of the overlay's for it.
var tmpfileCorrection = correction{
	name: "tmpfile",
	calls: map[uintptr]Wrapper{
		unix.SYS_OPEN:    tmpfileWrapper(openArguments, func(_ *kernel.Task, a arch.SyscallArguments) uint { return uint(a[2].ModeT()) }),
		unix.SYS_OPENAT:  tmpfileWrapper(openatArguments, func(_ *kernel.Task, a arch.SyscallArguments) uint { return uint(a[3].ModeT()) }),
		unix.SYS_OPENAT2: tmpfileWrapper(openat2Arguments, openat2Mode),
		unix.SYS_LINKAT:  linkNameless,
	},
}

//go:linkname tmpfsNewRegularFile gvisor.dev/gvisor/pkg/sentry/fsimpl/tmpfs.(*filesystem).newRegularFile
func tmpfsNewRegularFile(fs unsafe.Pointer, uid auth.KUID, gid auth.KGID, mode linux.FileMode, parent unsafe.Pointer) (unsafe.Pointer, error)

//go:linkname tmpfsNewDentry gvisor.dev/gvisor/pkg/sentry/fsimpl/tmpfs.(*filesystem).newDentry
func tmpfsNewDentry(fs, inode unsafe.Pointer) unsafe.Pointer

//go:linkname tmpfsOpen gvisor.dev/gvisor/pkg/sentry/fsimpl/tmpfs.(*dentry).open
func tmpfsOpen(d unsafe.Pointer, ctx context.Context, rp *vfs.ResolvingPath, opts *vfs.OpenOptions, afterCreate bool) (*vfs.FileDescription, error)

//go:linkname overlayNewDentry gvisor.dev/gvisor/pkg/sentry/fsimpl/overlay.(*filesystem).newDentry
func overlayNewDentry(fs unsafe.Pointer) unsafe.Pointer

//go:linkname overlayCopyUpLocked gvisor.dev/gvisor/pkg/sentry/fsimpl/overlay.(*dentry).copyUpLocked
func overlayCopyUpLocked(d unsafe.Pointer, ctx context.Context) error

//go:linkname overlayOpenCopiedUp gvisor.dev/gvisor/pkg/sentry/fsimpl/overlay.(*dentry).openCopiedUp
func overlayOpenCopiedUp(d unsafe.Pointer, ctx context.Context, rp *vfs.ResolvingPath, opts *vfs.OpenOptions) (*vfs.FileDescription, error)

//go:linkname resolvingPath gvisor.dev/gvisor/pkg/sentry/vfs.(*VirtualFilesystem).getResolvingPath
func resolvingPath(v *vfs.VirtualFilesystem, creds *auth.Credentials, pop *vfs.PathOperation) *vfs.ResolvingPath

func openat2Mode(t *kernel.Task, args arch.SyscallArguments) uint {
	var how linux.OpenHow
	if _, err := how.CopyInN(t, args[2].Pointer(), linux.OPEN_HOW_SIZE_VER0); err != nil {
		return 0
	}
	return uint(how.Mode)
}

// tmpfileWrapper has gVisor check the arguments of an open with O_TMPFILE, and
// opens if it is only the file system that says no.
func tmpfileWrapper(request func(*kernel.Task, arch.SyscallArguments) openRequest, mode func(*kernel.Task, arch.SyscallArguments) uint) Wrapper {
	return func(next kernel.SyscallFn) kernel.SyscallFn {
		return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
			fd, ctrl, err := next(t, sysno, args)
			if err == nil || !linuxerr.Equals(linuxerr.EOPNOTSUPP, err) && !linuxerr.Equals(linuxerr.EISDIR, err) {
				return fd, ctrl, err
			}
			r := request(t, args)
			if r.flags&linux.O_TMPFILE == 0 || r.flags&linux.O_PATH != 0 {
				return fd, ctrl, err
			}
			fd, err = r.openNameless(t, linux.FileMode(mode(t, args)), err)
			return fd, ctrl, err
		}
	}
}

// openNameless makes and opens a file without a name. It returns err for a
// directory of a file system that has none.
func (r openRequest) openNameless(t *kernel.Task, mode linux.FileMode, err error) (uintptr, error) {
	name, nameErr := t.CopyInString(r.path, linux.PATH_MAX)
	if nameErr != nil {
		return 0, nameErr
	}
	dir, lookErr := lookUp(t, r.dirfd, name, r.resolve, r.flags&linux.O_NOFOLLOW == 0)
	if lookErr != nil {
		return 0, lookErr
	}
	defer dir.DecRef(t)
	if !isType(dir.Dentry().Impl(), tmpfsPackage, "dentry") && !isType(dir.Dentry().Impl(), overlayPackage, "dentry") {
		if linuxerr.Equals(linuxerr.EISDIR, err) {
			err = linuxerr.EOPNOTSUPP
		}
		return 0, err
	}
	mode = mode & 07777 &^ linux.FileMode(t.FSContext().Umask())
	file, err := makeNameless(t, dir, r.flags, mode)
	if err != nil {
		return 0, err
	}
	defer file.DecRef(t)
	fd, err := t.NewFDFrom(0, file, kernel.FDFlags{CloseOnExec: r.flags&linux.O_CLOEXEC != 0})
	return uintptr(fd), err
}

// makeNameless checks that the task may make files in dir, and makes one.
func makeNameless(t *kernel.Task, dir vfs.VirtualDentry, flags uint32, mode linux.FileMode) (*vfs.FileDescription, error) {
	v, creds := t.Kernel().VFS(), t.Credentials()
	pop := &vfs.PathOperation{Root: dir, Start: dir}
	stat, err := v.StatAt(t, creds, pop, &vfs.StatOptions{Mask: linux.STATX_TYPE})
	if err != nil {
		return nil, err
	}
	if stat.Mode&linux.S_IFMT != linux.S_IFDIR {
		return nil, linuxerr.ENOTDIR
	}
	mnt := dir.Mount()
	if err := mnt.CheckBeginWrite(); err != nil {
		return nil, err
	}
	defer mnt.EndWrite()
	if err := v.AccessAt(t, creds, vfs.MayWrite|vfs.MayExec, pop); err != nil {
		return nil, err
	}
	if dir.Dentry().IsDead() {
		return nil, linuxerr.EPERM
	}
	if isType(dir.Dentry().Impl(), overlayPackage, "dentry") {
		return namelessInOverlay(t, dir, flags, mode)
	}
	root := t.FSContext().RootDirectory()
	defer root.DecRef(t)
	where, err := v.PathnameWithDeleted(t, root, dir)
	if err != nil {
		return nil, err
	}
	d, err := newNameless(t, dir.Dentry(), flags, mode, where)
	if err != nil {
		return nil, err
	}
	defer d.DecRef(t)
	at := vfs.MakeVirtualDentry(mnt, d)
	rp := resolvingPath(v, creds, &vfs.PathOperation{Root: at, Start: at})
	defer rp.Release(t)
	return tmpfsOpen(pointerOf(d.Impl()), t, rp, &vfs.OpenOptions{Flags: flags &^ linux.O_CLOEXEC}, true)
}

// newNameless makes a regular file without a name in a directory of tmpfs. The
// caller has the reference. If it is opened directly, /proc shows it in where.
func newNameless(t *kernel.Task, dir *vfs.Dentry, flags uint32, mode linux.FileMode, where string) (*vfs.Dentry, error) {
	creds, parent := t.Credentials(), memoryInodeOf(dir)
	inode, err := tmpfsNewRegularFile(parent.fs, creds.EffectiveKUID, creds.EffectiveKGID, mode, parent.impl.UnsafePointer())
	if err != nil {
		return nil, err
	}
	// The first field of a dentry of tmpfs is the VFS's.
	d := (*vfs.Dentry)(tmpfsNewDentry(parent.fs, inode))
	made := memoryInodeOf(d)
	made.nlink.Store(0)
	made.state().linkable = flags&linux.O_EXCL == 0
	if where != "" {
		name := strings.TrimLeft(strings.TrimSuffix(where, "/")+"/#"+strconv.FormatUint(made.ino, 10), "/")
		*fieldOf[string](reflect.ValueOf(d.Impl()).Elem(), "name") = name
	}
	return d, nil
}

// namelessInOverlay makes and opens a file without a name in a directory of an
// overlay.
func namelessInOverlay(t *kernel.Task, dir vfs.VirtualDentry, flags uint32, mode linux.FileMode) (*vfs.FileDescription, error) {
	upper, err := upperOf(t, dir.Dentry())
	if err != nil {
		return nil, err
	}
	fs := *fieldOf[unsafe.Pointer](reflect.ValueOf(dir.Dentry().Impl()).Elem(), "fs")
	if !isType(upper.Dentry().Impl(), tmpfsPackage, "dentry") {
		return nil, linuxerr.EOPNOTSUPP
	}
	made, err := newNameless(t, upper.Dentry(), flags, mode, "")
	if err != nil {
		return nil, err
	}
	// The first field of a dentry of the overlay is the VFS's.
	d := (*vfs.Dentry)(overlayNewDentry(fs))
	err = describeNameless(t, d, dir.Dentry(), vfs.MakeVirtualDentry(upper.Mount(), made))
	d.IncRef()
	defer d.DecRef(t)
	if err != nil {
		return nil, err
	}
	at := vfs.MakeVirtualDentry(dir.Mount(), d)
	rp := resolvingPath(t.Kernel().VFS(), t.Credentials(), &vfs.PathOperation{Root: at, Start: at})
	defer rp.Release(t)
	return overlayOpenCopiedUp(pointerOf(d.Impl()), t, rp, &vfs.OpenOptions{Flags: flags &^ (linux.O_TMPFILE | linux.O_DIRECTORY | linux.O_EXCL | linux.O_CLOEXEC | linux.O_NOFOLLOW)})
}

// upperOf returns what an overlay's dentry has in the upper layer, to which the file
// is copied if need be.
func upperOf(t *kernel.Task, d *vfs.Dentry) (vfs.VirtualDentry, error) {
	v := reflect.ValueOf(d.Impl()).Elem()
	renameMu := fieldOf[gsync.RWMutex](v.FieldByName("fs").Elem(), "renameMu")
	renameMu.RLock()
	defer renameMu.RUnlock()
	if err := overlayCopyUpLocked(pointerOf(d.Impl()), t); err != nil {
		return vfs.VirtualDentry{}, err
	}
	return *fieldOf[vfs.VirtualDentry](v, "upperVD"), nil
}

// describeNameless makes a new dentry of an overlay the one of a file in its upper
// layer, which lies in directory dir without a name. d takes over the reference to
// the file's dentry.
func describeNameless(t *kernel.Task, d, dir *vfs.Dentry, upper vfs.VirtualDentry) error {
	v := reflect.ValueOf(d.Impl()).Elem()
	upper.Mount().IncRef()
	*fieldOf[vfs.VirtualDentry](v, "upperVD") = upper
	fieldOf[atomicbitops.Uint32](v, "copiedUp").Store(1)
	root := auth.NewRootCredentials(t.Kernel().RootUserNamespace())
	fs := t.Kernel().VFS()
	pop := &vfs.PathOperation{Root: upper, Start: upper}
	stat, err := fs.StatAt(t, root, pop, &vfs.StatOptions{Mask: linux.STATX_BASIC_STATS})
	if err == nil {
		fieldOf[atomicbitops.Uint32](v, "mode").Store(uint32(stat.Mode))
		fieldOf[atomicbitops.Uint32](v, "uid").Store(stat.UID)
		fieldOf[atomicbitops.Uint32](v, "gid").Store(stat.GID)
		fieldOf[atomicbitops.Uint32](v, "devMajor").Store(stat.DevMajor)
		fieldOf[atomicbitops.Uint32](v, "devMinor").Store(stat.DevMinor)
		fieldOf[atomicbitops.Uint64](v, "ino").Store(stat.Ino)
		var acl *vfs.PosixACL
		if acl, err = fs.GetPosixACLAt(t, root, pop, vfs.AccessACL); err == nil {
			fieldOf[atomic.Pointer[vfs.PosixACL]](v, "accessACL").Store(acl)
		}
	}
	dir.IncRef()
	fieldOf[atomic.Pointer[byte]](v, "parent").Store((*byte)(pointerOf(dir.Impl())))
	*fieldOf[string](v, "name") = "#" + strconv.FormatUint(stat.Ino, 10)
	fs.InvalidateDentry(t, d)
	return err
}

// linkMu is held by who gives a nameless file a name.
var linkMu sync.Mutex

// linkNameless wraps linkat(2): gVisor says that a file without links is not
// there.
func linkNameless(next kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		n, ctrl, err := next(t, sysno, args)
		flags := args[4].Uint()
		if !linuxerr.Equals(linuxerr.ENOENT, err) || flags&(linux.AT_EMPTY_PATH|linux.AT_SYMLINK_FOLLOW) == 0 {
			return n, ctrl, err
		}
		name, nameErr := t.CopyInString(args[1].Pointer(), linux.PATH_MAX)
		if nameErr != nil || name == "" && flags&linux.AT_EMPTY_PATH == 0 {
			return n, ctrl, err
		}
		old, lookErr := lookUp(t, args[0].Int(), name, 0, flags&linux.AT_SYMLINK_FOLLOW != 0)
		if lookErr != nil {
			return n, ctrl, err
		}
		defer old.DecRef(t)
		inode, ok := namelessOf(old.Dentry())
		if !ok {
			return n, ctrl, err
		}
		linkMu.Lock()
		defer linkMu.Unlock()
		state := inode.state()
		if !state.linkable || inode.nlink.Load() != 0 {
			return n, ctrl, err
		}
		// While it has a link, that is one too many.
		inode.nlink.Store(1)
		n, ctrl, err = next(t, sysno, args)
		inode.nlink.Add(^uint32(0))
		if err == nil {
			state.linkable = false
			inode.dentry.IncRef() // held by an inode that has links
		}
		return n, ctrl, err
	}
}

// nameless is an inode that may get its first name.
type nameless struct {
	memoryInode
	dentry *vfs.Dentry // one of its, in tmpfs
}

// namelessOf returns the inode in memory that a dentry is of.
func namelessOf(d *vfs.Dentry) (nameless, bool) {
	if isType(d.Impl(), overlayPackage, "dentry") {
		d = fieldOf[vfs.VirtualDentry](reflect.ValueOf(d.Impl()).Elem(), "upperVD").Dentry()
	}
	if d == nil || !isType(d.Impl(), tmpfsPackage, "dentry") {
		return nameless{}, false
	}
	return nameless{memoryInodeOf(d), d}, true
}
