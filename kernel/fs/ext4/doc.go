// Package ext4 reads and writes ext2, ext3 and ext4 file systems.
//
// It follows the on-disk format that Documentation/filesystems/ext4 in the
// Linux sources describes and that e2fsprogs 1.47 makes and checks.
//
// # What is on the disk
//
// The disk is an array of blocks, cut into groups. Each group has two bitmaps
// (which blocks, which inodes are taken), a table of inodes and the rest for
// content; a descriptor tells where they are and counts what is free. An
// inode finds its blocks by a tree of extents, or in file systems made by
// mkfs.ext2 by a tree of block numbers. A directory is a file of entries; one
// of several blocks has an index by the hash of the name (htree). Nearly every
// structure carries a checksum, over its place as well as its content, so that
// a block that landed elsewhere is noticed.
//
// # What a crash can and cannot lose
//
// Changes of metadata join the running transaction, together with those of
// many other operations. Commit writes the changed blocks to the journal
// (package jbd2), flushes the device, writes the commit block and flushes
// again. Only then may the blocks be written to their places (checkpoint).
// After a crash, Mount repeats what the journal has in full and ignores an
// unfinished tail. These invariants hold:
//
//   - An operation is in one transaction as a whole: after a crash, a rename
//     has happened or not, and never shows both names or none. Operations that
//     are too long for one transaction (freeing a large file) put the inode on
//     the orphan list first, and Mount finishes them.
//   - Transactions commit in order: what is seen of an operation after a crash
//     implies all operations before it.
//   - Content precedes the metadata that points to it: WriteAt chooses blocks,
//     writes them to the device, and only then joins the transaction that
//     maps them. The commit's first flush makes both durable. So no file ever
//     shows what its blocks held before.
//   - A block that a transaction frees is not given out until that transaction
//     has committed, so that a crash does not find a file that was not yet
//     deleted with somebody else's content in it.
//   - A metadata block that is freed is revoked in the journal: its old copies
//     are not replayed over what the block holds later.
//   - Sync returns when the transactions that hold the inode's changes have
//     committed and its content has been flushed.
//
// What is lost is what was not synced: at most the last five seconds of
// changes of metadata, and content that the caller's page cache kept. A file
// that was overwritten in place without sync may have old and new blocks
// mixed, as with ext4 on Linux (data=ordered).
//
// Without a journal (ext2) transactions are written straight to their places.
// After a crash such a file system needs e2fsck; it is marked so while mounted.
//
// A device that fails to commit leaves the file system read-only: nothing more
// is written, changes fail with EROFS, and the superblock's error flag, where
// it can be written, tells e2fsck.
//
// # Locks
//
// In this order; any may be skipped:
//
//	inode.mu of a file   its content: read-locked while its blocks are read
//	FS.mu                all metadata and the running transaction
//	inode.mu of a directory, its entries: one at a time
//	FS.imu               the table of inodes in use
//	inode.at, cache.mu, jbd2 locks
//
// A change of metadata happens between FS.begin and FS.end, which hold FS.mu;
// no I/O of content and no commit happens there, only reads of metadata that
// is not cached. Readers of files and directories take only inode.mu.
//
// FS.commitMu serialises commits. It is taken before FS.mu, with at most a
// file's inode.mu held.
//
// Numbers from the disk are not trusted: each is checked against the limits of
// its kind before use, depths and lengths of walks are bounded, and damage is
// EUCLEAN with a line in the log.
package ext4
