package ext4

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"kiln/kernel/fs"
)

// TestSharedXattrs changes attributes that two inodes share.
func TestSharedXattrs(t *testing.T) {
	m, f, root := setup(t, "16M", "-t", "ext4", "-b", "1024", "-I", "128")
	a, b := create(t, root, "a"), create(t, root, "b")
	if err := a.Setxattr("user.shared", []byte("value"), 0); err != nil {
		t.Fatal(err)
	}
	// As Linux does when it finds the same attributes elsewhere.
	x, y := a.(*inode), b.(*inode)
	if err := f.begin(creditsTree); err != nil {
		t.Fatal(err)
	}
	buf, err := x.xattrBlock()
	if err != nil || buf == nil {
		t.Fatal("no block", err)
	}
	le.PutUint32(f.dirty(buf, kindXattr, 0)[xattrRefOff:], 2)
	if err := y.touch(false); err != nil {
		t.Fatal(err)
	}
	y.acl = x.acl
	y.addBlocks(1)
	f.end()
	if err := b.Setxattr("user.own", []byte("own"), fs.XattrCreate); err != nil {
		t.Fatal(err)
	}
	if v, err := a.Getxattr("user.own"); !errors.Is(err, syscall.ENODATA) {
		t.Errorf("a has b's attribute: %q, %v", v, err)
	}
	if v, err := b.Getxattr("user.shared"); string(v) != "value" {
		t.Errorf("b lost the shared attribute: %q, %v", v, err)
	}
	for _, tt := range []struct {
		err  error
		want syscall.Errno
	}{
		{a.Setxattr("user.shared", nil, fs.XattrCreate), syscall.EEXIST},
		{a.Setxattr("user.none", nil, fs.XattrReplace), syscall.ENODATA},
		{a.Setxattr("other.name", nil, 0), syscall.EOPNOTSUPP},
		{a.Removexattr("user.none"), syscall.ENODATA},
		{a.Setxattr("user.huge", make([]byte, 5000), 0), syscall.ENOSPC},
	} {
		if !errors.Is(tt.err, tt.want) {
			t.Errorf("got %v, want %v", tt.err, tt.want)
		}
	}
	a.DecRef()
	b.DecRef()
	finish(t, m, f, root)
}

// TestACL checks that ACLs come back as they were set, and that debugfs knows
// them.
func TestACL(t *testing.T) {
	m, f, root := setup(t, "16M", "-t", "ext4")
	in := create(t, root, "file")
	acl := le.AppendUint32(nil, 2)
	for _, e := range []struct {
		tag, perm uint16
		id        uint32
	}{{1, 6, aclNoID}, {2, 7, 1000}, {4, 4, aclNoID}, {8, 5, 2000}, {0x10, 7, aclNoID}, {0x20, 4, aclNoID}} {
		acl = le.AppendUint16(acl, e.tag)
		acl = le.AppendUint16(acl, e.perm)
		acl = le.AppendUint32(acl, e.id)
	}
	if err := in.Setxattr("system.posix_acl_access", acl, 0); err != nil {
		t.Fatal(err)
	}
	if got, err := in.Getxattr("system.posix_acl_access"); err != nil || !bytes.Equal(got, acl) {
		t.Errorf("ACL %x, %v, want %x", got, err, acl)
	}
	if err := in.Setxattr("system.posix_acl_access", acl[:9], 0); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("a cut ACL: %v, want EINVAL", err)
	}
	in.DecRef()
	finish(t, m, f, root)
	img := filepath.Join(t.TempDir(), "acl")
	if err := m.Save(img); err != nil {
		t.Fatal(err)
	}
	if out := run(t, tool(t, "debugfs"), "-R", "ea_list file", img); !strings.Contains(out, "system.posix_acl_access") {
		t.Errorf("debugfs lists %q", out)
	}
}
