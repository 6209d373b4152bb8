package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"kiln/image"
	"kiln/image/bootinfo"
)

var inspectCommand = command{
	name:  "inspect",
	usage: "[--json] IMAGE|PROGRAM\n       kiln inspect INSTANCE…\n       kiln inspect --symbols [--json] IMAGE [PATTERN]\n       kiln inspect --gdb IMAGE -o FILE",
	short: "show what is inside an image, how a program was built, or an instance's state",
	long: `
Prints an image's manifest, memory layout and files. Of a program, or of those
in an image, it prints how Kiln's compiler built it. Of INSTANCEs, where there is
no file of the name, it prints what they were made with and their state, as JSON.

With --symbols it prints the functions of the kernel instead, that is of metal
and of the kernel program: virtual and physical address, size, program, name.
PATTERN picks those whose names match a regular expression or, if it is an
address, 0x…, the one that lies there. kiln sym knows variables and the
programs of the image as well.

With --gdb it writes an ELF file for gdb and other tools that read DWARF:
symbols, variables, types, line tables and frame information of both programs
of the kernel. It is put together from what the build has kept beside kiln, in
bin/debug; $KILN_DEBUG names another folder.`,
	flags: func(fs *pflag.FlagSet) action {
		asJSON := fs.Bool("json", false, "print JSON")
		symbols := fs.Bool("symbols", false, "print the addresses of the kernel's functions")
		gdb := fs.Bool("gdb", false, "write what debuggers need to know of the kernel")
		out := fs.StringP("output", "o", "", "where --gdb writes: `FILE`")
		return func(a *app, args []string, _ int) (int, error) {
			if *gdb || *out != "" {
				return 0, a.inspectGDB(args, *gdb, *out, *symbols || *asJSON)
			}
			if *symbols {
				return 0, a.inspectSymbols(args, *asJSON)
			}
			instances, err := a.namedInstances(args)
			if err != nil {
				return 0, err
			}
			if instances != nil {
				return 0, encodeJSON(a.stdout, instances)
			}
			if len(args) != 1 {
				return 0, usageError{fmt.Sprintf("%d images are named, want 1", len(args)), "kiln inspect IMAGE"}
			}
			if args[0], err = a.packageImage(args[0]); err != nil {
				return 0, err
			}
			isImage, err := image.IsImage(args[0])
			if err != nil {
				return 0, err
			}
			if !isImage {
				return 0, inspectProgram(a.stdout, args[0], *asJSON)
			}
			img, err := image.Open(args[0])
			if err != nil {
				return 0, err
			}
			if *asJSON {
				err = inspectJSON(a.stdout, img)
			} else {
				err = inspectText(a.stdout, img)
			}
			return 0, err
		}
	},
}

// inspectGDB writes to file out what debuggers need to know of the kernel in the
// image that args name. more says that other flags ask for something else.
func (a *app) inspectGDB(args []string, gdb bool, out string, more bool) error {
	const usage = "kiln inspect --gdb IMAGE -o FILE"
	switch {
	case !gdb || more:
		return usageError{"-o goes with --gdb, and --symbols and --json do not", usage}
	case out == "":
		return usageError{"no file is named for --gdb to write", usage}
	case len(args) != 1:
		return usageError{fmt.Sprintf("%d images are named, want 1", len(args)), usage}
	}
	path, err := a.imageAt(args[0])
	if err != nil {
		return err
	}
	return a.writeDebugFile(path, out)
}

// imageAt returns the path of the image that name means, a file or a package,
// and refuses what is none.
func (a *app) imageAt(name string) (string, error) {
	path, err := a.packageImage(name)
	if err != nil {
		return "", err
	}
	isImage, err := image.IsImage(path)
	if err == nil && !isImage {
		err = usageError{path + " is not an image", "kiln bake makes one"}
	}
	return path, err
}

// segment is a part of the image as kiln inspect --json has it.
type segment struct {
	Name    string `json:"name,omitempty"`
	Address uint64 `json:"address"` // physical
	Offset  int64  `json:"offset"`  // in the file
	Size    uint64 `json:"size"`
	Flags   string `json:"flags"`
}

// kernelSegment is a segment of the kernel program.
type kernelSegment struct {
	Virtual  uint64 `json:"virtual"`
	Physical uint64 `json:"physical"`
	Size     uint64 `json:"size"`
	Memory   uint64 `json:"memory"` // bytes in memory
	Flags    string `json:"flags"`
}

// inspectJSON prints img for programs.
func inspectJSON(w io.Writer, img *image.Image) error {
	doc := struct {
		Manifest    image.Manifest  `json:"manifest"`
		Size        int64           `json:"size"`
		Entry       uint64          `json:"entry"`
		KernelEntry uint64          `json:"kernelEntry"`
		Segments    []segment       `json:"segments"`
		Kernel      []kernelSegment `json:"kernel"`
		Files       []image.File    `json:"files"`
	}{img.Manifest, img.Size, img.Entry, img.Header.KernelEntry, nil, nil, img.Files}
	for _, s := range img.Segments {
		doc.Segments = append(doc.Segments, segment{s.Name, s.Phys, s.Off, s.Size, flagString(s.Flags)})
	}
	for _, s := range img.Header.Segments[:img.Header.SegmentCount] {
		doc.Kernel = append(doc.Kernel, kernelSegment{s.Virt, s.Phys, s.FileSize, s.MemSize, flagString(s.Flags)})
	}
	return printJSON(w, doc)
}

// inspectText prints img for people.
func inspectText(out io.Writer, img *image.Image) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	m := img.Manifest
	line("program", "%s", printableWord(m.Program))
	for _, p := range m.Programs[min(1, len(m.Programs)):] {
		line("program", "%s", printableWord(p))
	}
	line("arguments", "%q", m.Args)
	if len(m.Env) > 0 {
		line("environment", "%s", printableWords(m.Env))
	}
	if u := m.User; u != nil {
		line("user", "%d, group %d", u.UID, u.GID)
	}
	for _, f := range []struct{ name, value string }{
		{"serves at", strings.Join(m.Exposed, " ")}, {"directory", m.Cwd}, {"host name", m.Hostname}, {"ports", strings.Join(m.Ports, " ")},
	} {
		if f.value != "" {
			line(f.name, "%s", printableWord(f.value))
		}
	}
	for _, p := range m.Pipes {
		line("named pipe", "%s", p.Path)
	}
	if h := m.Health; h != nil {
		line("health", "%q", h.Test)
	}
	for _, l := range m.Labels {
		line("label", "%s", l)
	}
	for _, f := range img.Files {
		if f.Build != nil {
			line("built "+printableWord(f.Path), "%s", f.Build)
		}
	}
	if m.Memory != 0 {
		line("memory", "%d MB", m.Memory)
	}
	for _, n := range m.Network {
		line("network "+n.Name, "%s", describeNetwork(n))
	}
	line("configuration", "%s", m.Config)
	line("entry", "%#x (PVH, 32 bits)", img.Entry)
	line("kernel entry", "%#x", img.Header.KernelEntry)
	line("size", "%d bytes", img.Size)
	fmt.Fprintf(w, "\nADDRESS\tSIZE\tFLAGS\tSEGMENT\n")
	for _, s := range img.Segments {
		fmt.Fprintf(w, "%#x\t%d\t%s\t%s\n", s.Phys, s.Size, flagString(s.Flags), s.Name)
	}
	fmt.Fprintf(w, "\nVIRTUAL\tPHYSICAL\tSIZE\tIN MEMORY\tFLAGS\tKERNEL SEGMENT\n")
	for i, s := range img.Header.Segments[:img.Header.SegmentCount] {
		fmt.Fprintf(w, "%#x\t%#x\t%d\t%d\t%s\t%d\n", s.Virt, s.Phys, s.FileSize, s.MemSize, flagString(s.Flags), i)
	}
	if len(img.Files) > 0 {
		fmt.Fprintf(w, "\nFILE\tSIZE\tSOURCE\n")
	}
	for _, f := range img.Files {
		path := printableWord(f.Path)
		if f.Link != "" {
			path += " → " + printableWord(f.Link)
		}
		fmt.Fprintf(w, "%s\t%d\t%s\n", path, f.Size, f.Source)
	}
	return w.Flush()
}

// printableWords joins words by spaces. Bytes that are no text are shown as
// Go's escapes, of a word in quotes.
func printableWords(words []string) string {
	shown := make([]string, len(words))
	for i, w := range words {
		shown[i] = printableWord(w)
	}
	return strings.Join(shown, " ")
}

func printableWord(w string) string {
	if !utf8.ValidString(w) || strings.ContainsFunc(w, unicode.IsControl) {
		return strconv.Quote(w)
	}
	return w
}

// describeNetwork returns n in words.
func describeNetwork(n image.Network) string {
	words := []string{"IPv4", n.IPv4}
	for _, s := range []string{n.Address, n.Gateway, "IPv6", n.IPv6, n.Addr6, n.Gate6} {
		if s != "" {
			words = append(words, s)
		}
	}
	if len(n.DNS) > 0 {
		words = append(append(words, "DNS"), n.DNS...)
	}
	return strings.Join(words, " ")
}

// flagString returns a segment's flags as ls would.
func flagString(flags uint64) string {
	b := []byte("---")
	for i, f := range []uint64{bootinfo.SegmentRead, bootinfo.SegmentWrite, bootinfo.SegmentExec} {
		if flags&f != 0 {
			b[i] = "rwx"[i]
		}
	}
	return string(b)
}
