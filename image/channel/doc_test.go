package channel

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"kiln/image/imagetest"
)

// jsonNames returns the names and kinds of a structure's fields in JSON.
func jsonNames(v any) (names []string) {
	kinds := map[string]string{
		"bool": "boolean", "string": "string", "[]string": "strings", "[]uint16": "numbers",
		"*int": "number", "int": "number", "uint16": "number", "*channel.Exec": "object", "*channel.Read": "object", "*channel.Write": "object",
		"uint64": "number", "uint32": "number", "[]channel.Interface": "objects",
	}
	t := reflect.TypeOf(v)
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names = append(names, name+" "+kinds[t.Field(i).Type.String()])
	}
	return names
}

// optional returns jsonNames with a mark at those that may be missing.
func optional(v any) []string {
	names := jsonNames(v)
	t := reflect.TypeOf(v)
	for i := range names {
		if strings.Contains(t.Field(i).Tag.Get("json"), ",omitempty") {
			names[i] += ", optional"
		}
	}
	return names
}

// rows returns the first cells of each row of a table in docs/image.md.
func rows(t *testing.T, intro string, cells int) (rows []string) {
	for _, row := range imagetest.Table(t, intro) {
		rows = append(rows, strings.TrimSpace(strings.Join(row[:cells], " ")))
	}
	return rows
}

// TestDocumented compares the channel with docs/image.md.
func TestDocumented(t *testing.T) {
	for _, tt := range []struct {
		intro string
		cells int
		want  []string
	}{
		{"**Messages.**", 2, jsonNames(Request{})},
		{"A report, from the guest:", 2, jsonNames(Report{})},
		{"A frame (package", 3, []string{"0 1 Kind", "1 1", "2 2 Stream", "4 4 Size"}},
		{"The kinds of frames:", 3, []string{
			fmt.Sprintf("%d message JSON, 1 to %d bytes: a request to the guest, or a report of its", KindMessage, MaxMessage),
			fmt.Sprintf("%d data 1 to %d bytes of the stream", KindData, MaxPayload),
			fmt.Sprintf("%d end none: the stream has no more data", KindEnd),
			fmt.Sprintf("%d credit 4 bytes: how many more bytes of the stream its reader takes, 1 to %d", KindCredit, Window),
		}},
		{"An opening:", 2, jsonNames(Opening{})},
		{"A program to run:", 2, optional(Exec{})},
		{"Files to read:", 2, optional(Read{})},
		{"Where to unpack:", 2, optional(Write{})},
		{"What is at a path:", 2, optional(PathState{})},
		{"A process:", 2, optional(Process{})},
		{"What a guest uses:", 2, optional(Statistics{})},
		{"A network interface of it:", 2, optional(Interface{})},
		{"The streams:", 2, []string{fmt.Sprintf("%d messages", Messages), fmt.Sprintf("%d stdin", Stdin), fmt.Sprintf("%d stdout", Stdout), fmt.Sprintf("%d stderr", Stderr)}},
		{"## The machine", 1, []string{"virtio console, port 1 named `" + PortName, "COM1 (0x3f8)", "debug exit (port 0x501)", "virtio-mmio, virtio-pci"}},
	} {
		if got := rows(t, tt.intro, tt.cells); !slices.Equal(got, tt.want) {
			t.Errorf("%q:\ngot  %q,\nwant %q", tt.intro, got, tt.want)
		}
	}
}
