package ext4

import "syscall"

// POSIX ACLs have one form for programs (version 2: entries of 8 bytes) and a
// shorter one on the disk (version 1: only entries for a named user or group
// have an ID).
const (
	aclVersionProgram = 2
	aclVersionDisk    = 1
	aclUser           = 0x02
	aclGroup          = 0x08
	aclNoID           = 0xffffffff
)

func aclHasID(tag uint16) bool { return tag == aclUser || tag == aclGroup }

// aclToDisk converts an ACL as a program sets it.
func aclToDisk(v []byte) ([]byte, error) {
	if len(v) < 4 || (len(v)-4)%8 != 0 || le.Uint32(v) != aclVersionProgram {
		return nil, syscall.EINVAL
	}
	out := le.AppendUint32(nil, aclVersionDisk)
	for e := v[4:]; len(e) > 0; e = e[8:] {
		out = append(out, e[:4]...)
		if aclHasID(le.Uint16(e)) {
			out = append(out, e[4:8]...)
		}
	}
	return out, nil
}

// aclFromDisk is its reverse.
func (n *inode) aclFromDisk(v []byte) ([]byte, error) {
	bad := n.f.damaged
	if len(v) < 4 || le.Uint32(v) != aclVersionDisk {
		return nil, bad("inode %d: ACL of %d bytes", n.ino, len(v))
	}
	out := le.AppendUint32(nil, aclVersionProgram)
	for e := v[4:]; len(e) > 0; {
		size, id := 4, uint32(aclNoID)
		if len(e) >= 4 && aclHasID(le.Uint16(e)) {
			size = 8
		}
		if len(e) < size {
			return nil, bad("inode %d: ACL of %d bytes", n.ino, len(v))
		}
		if size == 8 {
			id = le.Uint32(e[4:])
		}
		out = append(out, e[:4]...)
		out = le.AppendUint32(out, id)
		e = e[size:]
	}
	return out, nil
}
