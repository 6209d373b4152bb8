package ext4

import (
	"errors"
	"syscall"

	"kiln/kernel/fs"
)

// checkDir checks that entries can be added to the directory.
//
// Context: FS.mu held.
func (n *inode) canAdd(name string) error {
	if !n.isDir() {
		return syscall.ENOTDIR
	}
	if err := checkName(name); err != nil {
		return err
	}
	if n.links == 0 {
		return syscall.ENOENT // it has been removed
	}
	switch _, err := n.find(name); {
	case err == nil:
		return syscall.EEXIST
	case !errors.Is(err, syscall.ENOENT):
		return err
	}
	return nil
}

// addLink counts one more link. The directory's limit is none if the file
// system has dir_nlink: from linkMax on it says 1.
//
// Context: FS.mu held, the inode touched.
func (n *inode) addLink(delta int) {
	n.at.Lock()
	defer n.at.Unlock()
	if n.isDir() && n.links == 1 {
		return // not counted any more
	}
	n.links = uint32(int(n.links) + delta)
	if n.isDir() && n.links >= linkMax {
		n.links = 1
	}
}

// canLink reports whether another subdirectory fits.
func (n *inode) canLink() error {
	if n.links >= linkMax-1 && n.f.sb.roCompat&roDirNlink == 0 {
		return syscall.EMLINK
	}
	return nil
}

// Create implements fs.Inode.
func (n *inode) Create(name string, attr fs.New) (fs.Inode, error) {
	switch attr.Mode & syscall.S_IFMT {
	case syscall.S_IFREG, syscall.S_IFDIR, syscall.S_IFCHR, syscall.S_IFBLK, syscall.S_IFIFO, syscall.S_IFSOCK:
	default:
		return nil, syscall.EINVAL
	}
	return n.create(name, attr, nil)
}

// create makes an inode, has fill complete it, and adds it to the directory.
func (n *inode) create(name string, attr fs.New, fill func(child *inode) error) (fs.Inode, error) {
	f := n.f
	var child *inode
	err := f.retry(func() error {
		if err := f.begin(2 * creditsDir); err != nil {
			return err
		}
		defer f.end()
		if err := n.canAdd(name); err != nil {
			return err
		}
		isDir := attr.Mode&syscall.S_IFMT == syscall.S_IFDIR
		if err := n.canLink(); isDir && err != nil {
			return err
		}
		if err := n.touch(false); err != nil {
			return err
		}
		var err error
		if child, err = f.newInode(n, attr); err != nil {
			return f.check(err)
		}
		if err = n.adopt(name, child, fill); err != nil {
			if e := f.undoInode(child); e != nil {
				err = e
			}
			child = nil
			return f.check(err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return child, nil
}

// adopt completes a new inode and adds it to the directory.
func (n *inode) adopt(name string, child *inode, fill func(child *inode) error) error {
	if fill != nil {
		if err := fill(child); err != nil {
			return err
		}
	}
	if child.isDir() {
		if err := child.initDir(n); err != nil {
			return err
		}
	}
	if err := n.addEntry(name, child); err != nil {
		return err
	}
	child.at.Lock()
	child.links = 1
	if child.isDir() {
		child.links = 2
	}
	child.at.Unlock()
	if child.isDir() {
		n.addLink(1)
	}
	n.setTimes(true)
	return nil
}

// Symlink implements fs.Inode.
func (n *inode) Symlink(name, target string, attr fs.New) (fs.Inode, error) {
	switch {
	case target == "":
		return nil, syscall.ENOENT
	case len(target) >= n.f.sb.blockSize:
		return nil, syscall.ENAMETOOLONG
	}
	attr.Mode = syscall.S_IFLNK | 0777
	return n.create(name, attr, func(child *inode) error { return child.setTarget(target) })
}

// setTarget stores the target of a new symbolic link: in the inode, or in a
// block.
//
// Context: FS.mu held, the inode touched.
func (n *inode) setTarget(target string) error {
	f := n.f
	n.setSize(int64(len(target)))
	if len(target) < len(n.root) {
		n.fast = true
		copy(n.root[:], target)
		return nil
	}
	n.useExtents()
	nr, err := f.allocMeta(n.homeGoal())
	if err != nil {
		return err
	}
	copy(f.fresh(nr, kindPlain, 0).bytes(), target)
	n.addBlocks(1)
	_, err = n.addMapping(mapping{count: 1, nr: nr, state: written})
	return err
}

// CreateNameless implements fs.NamelessMaker. The file is listed as an orphan, as
// one that was removed while open.
func (n *inode) CreateNameless(attr fs.New) (fs.Inode, error) {
	f := n.f
	var child *inode
	err := f.retry(func() error {
		if err := f.begin(creditsDir); err != nil {
			return err
		}
		defer f.end()
		if !n.isDir() {
			return syscall.ENOTDIR
		}
		if n.links == 0 {
			return syscall.EPERM // it has been removed
		}
		attr.Mode = syscall.S_IFREG | attr.Mode&07777
		var err error
		if child, err = f.newInode(n, attr); err != nil {
			return f.check(err)
		}
		child.noName = true
		return f.check(f.addOrphan(child))
	})
	if err != nil {
		return nil, err
	}
	return child, nil
}

// Link implements fs.Inode.
func (n *inode) Link(name string, target fs.Inode) error {
	f := n.f
	t, ok := target.(*inode)
	if !ok || t.f != f {
		return syscall.EXDEV
	}
	if t.isDir() {
		return syscall.EPERM
	}
	// While it has no links, it may be listed for being truncated as well.
	t.mu.Lock()
	defer t.mu.Unlock()
	return f.retry(func() error {
		if err := f.begin(creditsDir + creditsInode); err != nil {
			return err
		}
		defer f.end()
		if err := n.canAdd(name); err != nil {
			return err
		}
		if t.links == 0 && !t.noName {
			return syscall.ENOENT
		}
		if t.links >= linkMax {
			return syscall.EMLINK
		}
		if err := errors.Join(n.touch(false), t.touch(false)); err != nil {
			return err
		}
		if err := n.addEntry(name, t); err != nil {
			return f.check(err)
		}
		if t.noName {
			if err := f.dropOrphan(t); err != nil {
				return f.check(err)
			}
			t.noName = false
		}
		t.addLink(1)
		t.setTimes(false)
		n.setTimes(true)
		return nil
	})
}

// take finds an entry and its inode.
//
// Context: FS.mu held.
func (n *inode) take(name string) (slot, *inode, error) {
	s, err := n.find(name)
	if err != nil {
		return slot{}, nil, err
	}
	child, err := n.f.igetLinked(s.e.ino)
	if err == nil && child.links == 0 {
		// It stays referenced: there is no telling what freeing it would do.
		return slot{}, nil, n.f.damaged("directory %d: an entry names inode %d, which is free", n.ino, child.ino)
	}
	return s, child, err
}

// Unlink implements fs.Inode.
func (n *inode) Unlink(name string) error {
	return n.remove(name, func(child *inode) error {
		if child.isDir() {
			return syscall.EISDIR
		}
		return nil
	})
}

// Rmdir implements fs.Inode.
func (n *inode) Rmdir(name string) error {
	return n.remove(name, (*inode).removable)
}

// removable checks that a directory can be removed.
//
// Context: FS.mu held.
func (n *inode) removable() error {
	if !n.isDir() {
		return syscall.ENOTDIR
	}
	empty, err := n.isEmpty()
	if err == nil && !empty {
		err = syscall.ENOTEMPTY
	}
	return err
}

// remove removes an entry, if its inode passes a check.
func (n *inode) remove(name string, check func(child *inode) error) error {
	f := n.f
	var child *inode
	err := func() error {
		if err := f.begin(creditsDir); err != nil {
			return err
		}
		defer f.end()
		var s slot
		var err error
		if s, child, err = n.take(name); err != nil {
			return err
		}
		if err := check(child); err != nil {
			return err
		}
		if err := errors.Join(n.touch(false), child.touch(false)); err != nil {
			return err
		}
		n.removeSlot(s)
		n.setTimes(true)
		return f.check(n.unlinked(child))
	}()
	if child != nil {
		child.DecRef()
	}
	return err
}

// unlinked counts that an entry of the directory for child has gone.
//
// Context: FS.mu held, both touched.
func (n *inode) unlinked(child *inode) error {
	child.setTimes(false)
	child.at.Lock()
	switch {
	case child.isDir():
		child.links = 0
	case child.links > 0:
		child.links--
	}
	links := child.links
	child.at.Unlock()
	if child.isDir() {
		n.dropLink()
	}
	if links > 0 {
		return nil
	}
	return n.f.addOrphan(child)
}

// dropLink counts that a subdirectory has gone.
func (n *inode) dropLink() {
	if n.links > 2 {
		n.addLink(-1)
	}
}
