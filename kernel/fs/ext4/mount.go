package ext4

import (
	"fmt"
	"syscall"

	"kiln/kernel/fs/block"
	"kiln/kernel/fs/ext4/jbd2"
)

// Mount mounts the file system on dev. It fails with EINVAL if there is none,
// EOPNOTSUPP if it has features that are not known, EUCLEAN if it is damaged.
//
// A file system that has features which forbid only writing, or that is on a
// read-only device, is mounted read-only, with a line in the log.
func Mount(dev block.Device, o Options) (*FS, error) {
	f, err := open(dev, o, !dev.ReadOnly())
	if err != nil {
		return nil, err
	}
	if err := f.recover(); err != nil {
		return nil, fmt.Errorf("ext4: %w", err)
	}
	if f.journal != nil || f.sb.hasJournal() {
		// Replay may have changed anything.
		journal, runs := f.journal, f.journalAt
		if f, err = open(dev, o, false); err != nil {
			return nil, err
		}
		f.journal = journal
		for _, r := range runs {
			f.zones = append(f.zones, zone{r.Start, r.Start + r.Count})
		}
		f.zones = mergeZones(f.zones)
	}
	if err := f.start(); err != nil {
		return nil, fmt.Errorf("ext4: %w", err)
	}
	return f, nil
}

// open reads superblock and descriptors. mayBeTorn says that the journal has
// not been replayed yet.
func open(dev block.Device, o Options, mayBeTorn bool) (*FS, error) {
	raw, err := readSuper(dev)
	if err != nil {
		return nil, fmt.Errorf("ext4: %w", err)
	}
	sb, err := parseSuper(raw, dev, mayBeTorn)
	if err != nil {
		return nil, fmt.Errorf("ext4: %w", err)
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = defaultCache
	}
	f := &FS{
		dev: dev, opts: o, sb: sb, readOnly: o.ReadOnly || dev.ReadOnly(),
		inodes: make(map[uint32]*inode), held: make(map[uint32]*heldBlocks),
		left: make(map[uint32]unsynced), tx: newTransaction(1), maxTx: maxTransaction,
		hasLargeFile:  sb.roCompat&roLargeFile != 0,
		orphanPresent: sb.roCompat&roOrphanPresent != 0,
	}
	f.cache = newCache(dev, sb.blockSize, o.CacheBytes)
	if err := f.loadGroups(); err != nil {
		return nil, err
	}
	return f, nil
}

// recover opens the journal and replays it.
func (f *FS) recover() error {
	dirty := f.sb.incompat&incompatRecover != 0 || f.sb.torn
	if !f.sb.hasJournal() {
		if dirty {
			return f.damaged("the journal has to be replayed, but there is none")
		}
		return nil
	}
	if f.sb.journalIno == 0 {
		return fmt.Errorf("a journal on a device of its own is not supported: %w", syscall.EOPNOTSUPP)
	}
	if f.dev.ReadOnly() {
		if dirty {
			return fmt.Errorf("the journal has to be replayed, but the device is read-only: %w", syscall.EROFS)
		}
		return nil
	}
	if !dirty && f.readOnly {
		return nil
	}
	runs, err := f.journalRuns()
	if err != nil {
		return err
	}
	f.journalAt = runs
	log, err := jbd2.Open(f.dev, f.sb.blockSize, f.sb.blocks, runs)
	if err != nil {
		return err
	}
	errno := log.Errno()
	if dirty {
		res, err := log.Recover()
		if err != nil {
			return err
		}
		f.log("unclean end: replayed %d transactions of the journal, %d blocks", res.Transactions, res.Blocks)
		if err := f.clearRecover(errno != 0); err != nil {
			return err
		}
	} else if !log.Clean() {
		return f.damaged("the journal has something to replay, but the superblock says that it has not")
	}
	if errno != 0 {
		f.log("the journal was stopped by an error (%v): run e2fsck", errno)
	}
	f.journal = log
	return nil
}

// journalRuns returns where the journal is.
func (f *FS) journalRuns() ([]jbd2.Run, error) {
	n, err := f.iget(f.sb.journalIno)
	if err != nil {
		return nil, err
	}
	defer func() {
		f.imu.Lock()
		delete(f.inodes, n.ino)
		f.imu.Unlock()
	}()
	if !n.isReg() || n.links == 0 {
		return nil, f.damaged("the journal is no file")
	}
	var runs []jbd2.Run
	end := f.blocksOf(n.size)
	for at := uint64(0); at < end; {
		m, err := n.mapBlock(at, end-at)
		if err != nil {
			return nil, err
		}
		if m.state != written {
			return nil, f.damaged("the journal has a hole at block %d", at)
		}
		runs = append(runs, jbd2.Run{Start: m.nr, Count: m.count})
		at = m.end()
	}
	if len(runs) == 0 {
		return nil, f.damaged("the journal is empty")
	}
	return runs, nil
}

// writeSuper changes the superblock in its place, past the journal. Where the
// journal does not have the superblock too, only the flag that the journal has
// to be replayed may change, so that a torn write is understood: see isTorn.
func (f *FS) writeSuper(change func(s []byte)) error {
	ss := f.dev.SectorSize()
	at := superOff / ss * ss
	d := make([]byte, max(ss, superLen))
	if err := f.dev.ReadAt(d, int64(at)); err != nil {
		return err
	}
	s := d[superOff-at:][:superLen]
	change(s)
	if f.sb.metaCsum() {
		le.PutUint32(s[sbCsum:], crc32c(^uint32(0), s[:sbCsum]))
	}
	if err := f.dev.WriteAt(d, int64(at)); err != nil {
		return err
	}
	return f.dev.Flush()
}

// clearRecover notes in the superblock that the journal has been replayed.
func (f *FS) clearRecover(failed bool) error {
	return f.writeSuper(func(s []byte) {
		le.PutUint32(s[sbIncompat:], le.Uint32(s[sbIncompat:])&^incompatRecover)
		if failed {
			le.PutUint16(s[sbState:], le.Uint16(s[sbState:])|stateError)
		}
	})
}

// start makes the file system ready for use.
func (f *FS) start() error {
	for i := range f.groups {
		f.freeBlocks += uint64(f.groups[i].freeBlocks)
	}
	root, err := f.Root()
	if err != nil {
		return err
	}
	root.DecRef()
	if unknown := f.sb.roCompat &^ roKnown; unknown != 0 && !f.readOnly {
		f.log("mounted read-only: Kiln does not know how to write with the features %s", featureList(unknown, roNames))
		f.readOnly = true
	}
	if f.readOnly {
		return nil
	}
	if err := f.startWriting(); err != nil {
		return err
	}
	// What cannot be freed stays on the list: e2fsck can free it.
	err = f.cleanOrphans()
	if err == nil && f.orphanFile != nil && f.orphanFile.count == 0 {
		f.mu.Lock()
		err = f.setOrphanPresent(false)
		f.mu.Unlock()
	}
	if isDamage(err) {
		f.orphanFile, err = nil, nil
	}
	return err
}

// startWriting marks the file system as mounted, starts the journal and opens
// the orphan file.
func (f *FS) startWriting() error {
	state := uint16(0)
	err := f.writeSuper(func(s []byte) {
		state = le.Uint16(s[sbState:])
		if f.journal != nil {
			le.PutUint32(s[sbIncompat:], le.Uint32(s[sbIncompat:])|incompatRecover)
		} else {
			le.PutUint16(s[sbState:], state&^stateValid)
		}
	})
	if err != nil {
		return err
	}
	f.cache.forget(uint64(superOff / f.sb.blockSize))
	if state&stateError != 0 {
		f.log("the file system has errors: run e2fsck")
	}
	f.wasValid = state&stateValid != 0
	if f.journal != nil {
		if err := f.journal.Start(f.sb.incompat&incompat64Bit != 0, f.sb.metaCsum()); err != nil {
			return err
		}
		f.maxTx = min(maxTransaction, f.journal.MaxTransaction())
		f.cache.pending = f.journal.Pending
	} else if !f.wasValid {
		f.log("not unmounted cleanly, and without a journal: run e2fsck")
	}
	if err := f.countMount(); err != nil {
		return err
	}
	return f.openOrphanFile()
}

// countMount notes in the superblock when it was mounted.
func (f *FS) countMount() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, err := f.superBytes()
	if err != nil {
		return err
	}
	le.PutUint32(s[sbMtime:], uint32(f.now().Unix()))
	le.PutUint16(s[sbMntCount:], le.Uint16(s[sbMntCount:])+1)
	return nil
}

// stopped reports whether changes are refused.
func (f *FS) stopped() bool {
	if f.readOnly {
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed != nil
}

// Sync implements fs.Filesystem.
func (f *FS) Sync() error {
	if f.readOnly {
		return nil
	}
	writes := f.writes.Load()
	f.mu.Lock()
	id, failed := f.tx.id, f.failed
	f.mu.Unlock()
	if failed != nil {
		return failed
	}
	if err := f.commit(id); err != nil {
		return err
	}
	return f.flushContent(writes)
}

// Unmount implements fs.Filesystem.
func (f *FS) Unmount() error {
	if f.readOnly {
		return nil
	}
	f.mu.Lock()
	failed := f.failed
	f.mu.Unlock()
	if failed != nil {
		f.background.Wait()
		return failed
	}
	if err := f.markUnmounted(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	f.background.Wait()
	if f.journal != nil {
		if err := f.journal.Stop(); err != nil {
			return f.abort(err)
		}
	}
	// Only now may the superblock say that there is nothing to replay.
	err := f.writeSuper(func(s []byte) {
		le.PutUint32(s[sbIncompat:], le.Uint32(s[sbIncompat:])&^incompatRecover)
		if f.journal == nil && f.wasValid {
			le.PutUint16(s[sbState:], le.Uint16(s[sbState:])|stateValid)
		}
	})
	if err != nil {
		return f.abort(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = fmt.Errorf("ext4: unmounted: %w", syscall.EROFS)
	return nil
}

// markUnmounted brings the superblock's state up to date in the last
// transaction.
func (f *FS) markUnmounted() error {
	if err := f.begin(creditsInode); err != nil {
		return err
	}
	defer f.end()
	f.imu.Lock()
	inUse := len(f.inodes)
	f.imu.Unlock()
	if inUse > 0 {
		f.log("%d inodes are in use at unmount", inUse)
	}
	_, err := f.superBytes() // for its counts
	return err
}
