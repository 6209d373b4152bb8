package ext4

// unsynced says what has to happen before an inode's changes are durable.
type unsynced struct {
	all   uint64 // the transaction that has to commit, for all changes
	data  uint64 // the same, not counting timestamps
	wrote uint64 // the write of content that has to be flushed
}

// unsynced returns what Sync of the inode has to wait for.
//
// Context: FS.mu held.
func (n *inode) unsynced() unsynced {
	// The inode may have been changed, left and loaded again.
	u := n.f.left[n.ino]
	return unsynced{max(u.all, n.syncTx), max(u.data, n.dataTx), max(u.wrote, n.wrote.Load())}
}

// leave remembers what has to be waited for, since the inode goes out of use.
//
// Context: FS.mu held.
func (n *inode) leave() {
	u := n.unsynced()
	if n.f.isDurable(u) {
		delete(n.f.left, n.ino)
	} else {
		n.f.left[n.ino] = u
	}
}

// isDurable reports whether there is nothing to wait for.
//
// Context: FS.mu held.
func (f *FS) isDurable(u unsynced) bool {
	return u.all <= f.committed && u.data <= f.committed && u.wrote <= f.flushed.Load()
}

// Sync implements fs.Inode.
func (n *inode) Sync(dataOnly bool) error {
	f := n.f
	if f.readOnly {
		return nil
	}
	f.mu.Lock()
	u, failed := n.unsynced(), f.failed
	tx := u.all
	if dataOnly {
		tx = u.data
	}
	pending := tx > f.committed
	f.mu.Unlock()
	if failed != nil {
		return failed
	}
	if pending {
		if err := f.commit(tx); err != nil {
			return err
		}
	}
	return f.flushContent(u.wrote)
}
