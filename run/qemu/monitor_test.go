package qemu

import (
	"bufio"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
)

// TestDiskErrors plays QEMU's side of its machine protocol.
func TestDiskErrors(t *testing.T) {
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		io.WriteString(theirs, `{"QMP": {"version": {}, "capabilities": ["oob"]}}`+"\r\n")
		asked, _ := bufio.NewReader(theirs).ReadString('\n')
		if !strings.Contains(asked, "qmp_capabilities") {
			return
		}
		io.WriteString(theirs, `{"return": {}}`+"\r\n"+
			`{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "BLOCK_IO_ERROR", "data": {"device": "", "nospace": true, "node-name": "disk0", "reason": "No space left on device", "operation": "write", "action": "report"}}`+"\r\n"+
			`{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}`+"\r\n"+
			`{"event": "BLOCK_IO_ERROR", "data": {"node-name": "other", "reason": "x", "operation": "read"}}`+"\r\n"+
			"no JSON\r\n"+
			`{"event": "BLOCK_IO_ERROR", "data": {"device": "", "node-name": "disk12", "reason": "Input/output error", "operation": "read", "action": "report"}}`+"\r\n")
	}()
	var got []DiskError
	if err := diskErrors(&halfDuplex{ours}, func(e DiskError) { got = append(got, e) }); err != nil {
		t.Error(err)
	}
	want := []DiskError{{Disk: 0, Reason: "No space left on device"}, {Disk: 12, Read: true, Reason: "Input/output error"}}
	if !slices.Equal(got, want) {
		t.Errorf("errors %v, want %v", got, want)
	}
}

// halfDuplex writes in the background: a net.Pipe has no buffer, and both sides
// begin with a line of their own.
type halfDuplex struct{ net.Conn }

func (h *halfDuplex) Write(p []byte) (int, error) {
	go h.Conn.Write(slices.Clone(p))
	return len(p), nil
}
