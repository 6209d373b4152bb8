package linux

import (
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
)

// existing is a file that an open(2) names and that is there already.
type existing struct {
	at   vfs.VirtualDentry
	stat linux.Statx
}

// existing finds the file that r opens. ok is false if there is none, or if r fails
// by what may_open asks before all else (fs/namei.c): types and permissions. The
// caller releases what at holds.
func (r openRequest) existing(t *kernel.Task) (f existing, ok bool) {
	const excl = linux.O_CREAT | linux.O_EXCL
	name, err := t.CopyInString(r.path, linux.PATH_MAX)
	if err != nil || r.flags&excl == excl {
		return existing{}, false
	}
	at, err := lookUp(t, r.dirfd, name, r.resolve, r.flags&linux.O_NOFOLLOW == 0)
	if err != nil {
		return existing{}, false
	}
	v, creds := t.Kernel().VFS(), t.Credentials()
	pop := &vfs.PathOperation{Root: at, Start: at}
	ats := vfs.AccessTypesForOpenFlags(&vfs.OpenOptions{Flags: r.flags})
	stat, err := v.StatAt(t, creds, pop, &vfs.StatOptions{Mask: linux.STATX_BASIC_STATS})
	if err == nil {
		err = v.AccessAt(t, creds, ats, pop)
	}
	dir := stat.Mode&linux.S_IFMT == linux.S_IFDIR
	switch {
	case err != nil,
		stat.Mode&linux.S_IFMT == linux.S_IFLNK,
		r.flags&linux.O_DIRECTORY != 0 && !dir,
		dir && (ats.MayWrite() || r.flags&linux.O_CREAT != 0):
		at.DecRef(t)
		return existing{}, false
	}
	return existing{at, stat}, true
}
