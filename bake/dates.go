package bake

import (
	"io/fs"
	"os"
	"path"
	"strconv"
	"time"
)

// A file of an image has the time that it has on the host, in its package or in
// its layer: web servers answer with it (Last-Modified, ETag), and make, caches
// and archivers compare it. What bake makes itself has none of its own.

// ParseEpoch returns the time that the variable SOURCE_DATE_EPOCH names
// (reproducible-builds.org/specs/source-date-epoch: seconds since 1970), nil
// for "".
func ParseEpoch(text string) (*time.Time, error) {
	if text == "" {
		return nil, nil
	}
	seconds, err := strconv.ParseUint(text, 10, 62)
	if err != nil {
		return nil, inputErrorf("SOURCE_DATE_EPOCH", "%q is no number of seconds since 1970", text)
	}
	t := time.Unix(int64(seconds), 0)
	return &t, nil
}

// dateFrom gives the entry at p, which is no regular file, the time of the
// host's file, if the entry came from there and has none.
func (r *root) dateFrom(p, host string, from origin) error {
	st, err := os.Lstat(host)
	if err != nil {
		return ioError(err)
	}
	r.date(p, st.ModTime(), from)
	return nil
}

// date gives the entry at p a time, if it is of this origin and has none.
func (r *root) date(p string, t time.Time, from origin) {
	p, err := r.resolve(p, false)
	if err != nil {
		return // put said so
	}
	if e := r.entries[p]; e != nil && e.from == from && e.mtime == 0 {
		e.mtime = t.Unix()
	}
}

// settleDates gives what has no time one: a directory the one of the newest
// file below it, else the newest of all. Programs take 1970 for a clock that was
// never set. No file is newer than the epoch, if there is one
// (reproducible-builds.org, SOURCE_DATE_EPOCH), unless its time is pinned.
func (r *root) settleDates(epoch *time.Time) {
	newest := map[string]int64{} // below a directory
	paths := r.paths()
	for i := len(paths) - 1; i >= 0; i-- { // what is below a directory comes first
		p, e := paths[i], r.entries[paths[i]]
		if epoch != nil && !e.pinned {
			e.mtime = min(e.mtime, epoch.Unix())
		}
		if e.mode.IsDir() && e.mtime == 0 {
			e.mtime = newest[p]
		}
		newest[path.Dir(p)] = max(newest[path.Dir(p)], e.mtime, newest[p])
	}
	for _, e := range r.entries {
		if e.mtime == 0 && (e.mode&fs.ModeType != 0 || e.host == "") {
			e.mtime = newest["/"]
		}
	}
}
