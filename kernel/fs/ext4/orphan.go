package ext4

// orphanTailLen is the length of what ends a block of the orphan file: a
// magic number and a checksum.
const orphanTailLen = 8
