package cc

import "regexp"

// The ways of linking.
const (
	StaticPIE = "static-pie" // one file, loaded anywhere
	Static    = "static"     // one file, loaded where it was linked for
	Dynamic   = "dynamic"    // with the host's shared libraries
	Shared    = "shared"     // a shared library
)

// Kinds are the ways of linking that can be asked for with --link.
var Kinds = []string{StaticPIE, Static, Dynamic}

// A Link is one way to link.
type Link struct {
	Kind string
	Args []string
	// Specs is text for GCC's -specs, "" for none.
	Specs string
	// Try says that another way follows, so this one must not be kept if
	// it fails, or works only in part.
	Try bool
}

// linkWays returns the ways to link for a call, in the order to try them.
//
// What the user asks for is the only way. Otherwise it is static-pie if that
// can be had, else dynamic; what can be had shows by trying, as it depends on
// each library: whether it exists as an archive, of code that can be loaded
// anywhere, with all that it needs in turn among the arguments.
func linkWays(c call, lib libc, set Settings) ([]Link, error) {
	kind := c.kind
	if kind == "" {
		kind = set.Link
	}
	way := func(kind string) Link {
		l := Link{Kind: kind, Args: libraryFlags(set.Sysroot, kind)}
		switch {
		case kind == StaticPIE && lib.specs != "":
			l.Specs = lib.specs
		case kind == StaticPIE && c.kind != StaticPIE:
			l.Args = append(l.Args, "-static-pie")
		case kind == Static && c.kind != Static:
			l.Args = append(l.Args, "-static")
		}
		return l
	}
	if kind != "" {
		return []Link{way(kind)}, nil
	}
	// musl's script cannot link static-pie without the specs.
	if lib.subdir != "" && lib.specs == "" {
		return []Link{way(Dynamic)}, nil
	}
	first := way(StaticPIE)
	first.Try = true
	return []Link{first, way(Dynamic)}, nil
}

// staticOnlyInPart is the linker's warning for functions of glibc that a
// static program cannot carry with it: they load shared libraries (dlopen,
// and whatever looks up names: getaddrinfo, getpwnam, …).
var staticOnlyInPart = regexp.MustCompile(`in statically linked applications requires at runtime the shared libraries`)

// linkerFailed matches what GCC says when the linker, not the compiler,
// failed; the name before the colon is not translated.
var linkerFailed = regexp.MustCompile(`(?m)^collect2: `)

// again reports whether the next way of linking should be taken, after one
// that gave the messages.
func again(failed bool, messages []byte) bool {
	if failed {
		return linkerFailed.Match(messages)
	}
	return staticOnlyInPart.Match(messages)
}
