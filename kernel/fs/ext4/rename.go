package ext4

import (
	"errors"
	"syscall"

	"kiln/kernel/fs"
)

// A move is one rename.
type move struct {
	f                *FS
	from, to         *inode // directories
	oldName, newName string
	old, new         slot
	moved            *inode
	victim           *inode // what newName names, nil if nothing
}

// Rename implements fs.Inode.
func (n *inode) Rename(oldName string, newDir fs.Inode, newName string, flags uint32) error {
	f := n.f
	to, ok := newDir.(*inode)
	if !ok || to.f != f {
		return syscall.EXDEV
	}
	if flags&^(fs.RenameNoReplace|fs.RenameExchange) != 0 || flags == fs.RenameNoReplace|fs.RenameExchange {
		return syscall.EINVAL
	}
	m := &move{f: f, from: n, to: to, oldName: oldName, newName: newName}
	return f.retry(func() error {
		err := m.run(flags)
		for _, r := range []*inode{m.moved, m.victim} {
			if r != nil {
				r.DecRef()
			}
		}
		m.moved, m.victim = nil, nil
		return err
	})
}

// run does the rename in one transaction.
func (m *move) run(flags uint32) error {
	if err := m.f.begin(2 * creditsDir); err != nil {
		return err
	}
	defer m.f.end()
	if err := m.find(flags); err != nil {
		return err
	}
	if m.victim == m.moved {
		return nil // two names of the same inode: rename(2) does nothing
	}
	if err := errors.Join(m.from.touch(false), m.to.touch(false), m.moved.touch(false)); err != nil {
		return err
	}
	if m.victim != nil {
		if err := m.victim.touch(false); err != nil {
			return err
		}
	}
	if flags&fs.RenameExchange != 0 {
		return m.f.check(m.exchange())
	}
	return m.f.check(m.replace())
}

// find looks both names up and checks that the rename is allowed.
func (m *move) find(flags uint32) error {
	var err error
	if !m.to.isDir() {
		return syscall.ENOTDIR
	}
	if m.old, m.moved, err = m.from.take(m.oldName); err != nil {
		return err
	}
	if m.new, m.victim, err = m.to.take(m.newName); err != nil {
		m.victim = nil
		if !errors.Is(err, syscall.ENOENT) {
			return err
		}
		if flags&fs.RenameExchange != 0 {
			return err
		}
		if err := m.to.canAdd(m.newName); err != nil {
			return err
		}
	}
	switch {
	case m.victim != nil && flags&fs.RenameNoReplace != 0:
		return syscall.EEXIST
	case m.moved == m.to || m.victim == m.from && flags&fs.RenameExchange != 0:
		return syscall.EINVAL
	}
	if m.victim != nil && m.victim != m.moved && flags&fs.RenameExchange == 0 {
		if err := m.replaceable(); err != nil {
			return err
		}
	}
	if m.moved.isDir() && m.from != m.to && (m.victim == nil || !m.victim.isDir()) {
		return m.to.canLink()
	}
	return nil
}

// replaceable checks that the victim can go.
func (m *move) replaceable() error {
	switch {
	case m.moved.isDir():
		return m.victim.removable()
	case m.victim.isDir():
		return syscall.EISDIR
	}
	return nil
}

// replace moves the entry.
func (m *move) replace() error {
	if m.victim != nil {
		m.to.setSlot(m.new, m.moved)
	} else {
		if err := m.to.addEntry(m.newName, m.moved); err != nil {
			return err
		}
		// A split may have moved the old entry.
		var err error
		if m.old, err = m.from.find(m.oldName); err != nil {
			return err
		}
	}
	m.from.removeSlot(m.old)
	if m.victim != nil {
		if err := m.to.unlinked(m.victim); err != nil {
			return err
		}
	}
	if err := m.reparent(m.moved, m.from, m.to); err != nil {
		return err
	}
	m.stamp()
	return nil
}

// reparent brings links and ".." of a directory up to date that has moved.
func (m *move) reparent(n, from, to *inode) error {
	if !n.isDir() || from == to {
		return nil
	}
	if err := n.setParent(to); err != nil {
		return err
	}
	from.dropLink()
	to.addLink(1)
	return nil
}

// exchange makes each entry name the other's inode.
func (m *move) exchange() error {
	m.from.setSlot(m.old, m.victim)
	m.to.setSlot(m.new, m.moved)
	if err := m.reparent(m.moved, m.from, m.to); err != nil {
		return err
	}
	if err := m.reparent(m.victim, m.to, m.from); err != nil {
		return err
	}
	m.victim.setTimes(false)
	m.stamp()
	return nil
}

func (m *move) stamp() {
	m.moved.setTimes(false)
	m.from.setTimes(true)
	m.to.setTimes(true)
}
