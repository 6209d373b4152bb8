package erofs

import (
	"bytes"
	"io"
	"io/fs"
	"strings"
	"testing"

	reader "github.com/erofs/go-erofs"
)

// TestLink: several names of one file share its inode and its data.
func TestLink(t *testing.T) {
	const text = "the only copy"
	opened := 0
	tree := New()
	steps := []error{
		tree.Create("/a/file", 0o640, 0, int64(len(text)), func() (io.ReadCloser, error) {
			opened++
			return io.NopCloser(strings.NewReader(text)), nil
		}),
		tree.Link("/b", "/a/file"),
		tree.Link("/c/d", "/b"), // a link to a link
		tree.Symlink("/s", "a/file"),
		tree.Link("/t", "/s"),
		tree.Chown("/c/d", 7, 8),
		tree.Chtime("/a", 1_600_000_000),
		tree.Chtime("/s", 1_500_000_000),
	}
	for i, err := range steps {
		if err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
	}
	if tree.Chtime("/none", 1) == nil || tree.Chown("/a/none", 1, 1) == nil {
		t.Error("what does not exist was changed")
	}
	if tree.Link("/e", "/a") == nil || tree.Link("/e", "/missing") == nil || tree.Link("/b", "/a/file") == nil {
		t.Error("Link made a name that cannot be")
	}
	plan, err := tree.Plan()
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := plan.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	if opened != 1 || bytes.Count(b.Bytes(), []byte(text)) != 1 {
		t.Errorf("the content was opened %d times and is there %d times, want once", opened, bytes.Count(b.Bytes(), []byte(text)))
	}
	img, err := reader.Open(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int64{"a": 1_600_000_000, "c": 0} {
		if st, err := fs.Stat(img, name); err != nil || st.ModTime().Unix() != want {
			t.Errorf("%s: %v, %v, want the time %d", name, st, err, want)
		}
	}
	for _, name := range []string{"a/file", "b", "c/d"} {
		got, err := fs.ReadFile(img, name)
		if err != nil || string(got) != text {
			t.Errorf("%s = %q, %v, want %q", name, got, err, text)
		}
		st, err := fs.Stat(img, name)
		if err != nil {
			t.Fatal(err)
		}
		if sys, ok := st.Sys().(*reader.Stat); !ok || sys.Nlink != 3 || sys.UID != 7 || sys.GID != 8 {
			t.Errorf("%s: %+v, want 3 links, user 7 and group 8", name, st.Sys())
		}
	}
}
