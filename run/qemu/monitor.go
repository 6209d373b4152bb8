package qemu

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// DiskError is a request of a disk that failed on the host. The guest gets an
// I/O error for it: virtio has no status that says more (virtio 1.2 §5.2.6).
type DiskError struct {
	Disk   int    // index in Machine.Disks
	Read   bool   // or else written, flushed or discarded
	Reason string // the host's name for the error
}

// maxEvent bounds a message of the monitor, in bytes.
const maxEvent = 64 << 10

// DiskErrors calls report for each request of a disk that fails, until QEMU has
// ended.
func (p *Process) DiskErrors(report func(DiskError)) error {
	if p.monitor == nil {
		return nil
	}
	defer p.monitor.Close()
	return diskErrors(p.monitor, report)
}

// diskErrors speaks QEMU's machine protocol (docs/interop/qmp-spec.txt): QEMU
// greets, and sends events once it was asked for its capabilities.
func diskErrors(monitor io.ReadWriter, report func(DiskError)) error {
	if _, err := io.WriteString(monitor, `{"execute":"qmp_capabilities"}`+"\n"); err != nil {
		return fmt.Errorf("QEMU's monitor: %w", err)
	}
	lines := bufio.NewScanner(monitor)
	lines.Buffer(nil, maxEvent)
	for lines.Scan() {
		// BLOCK_IO_ERROR, qapi/block-core.json.
		var e struct {
			Event string `json:"event"`
			Data  struct {
				Node      string `json:"node-name"`
				Operation string `json:"operation"`
				Reason    string `json:"reason"`
			} `json:"data"`
		}
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.Event != "BLOCK_IO_ERROR" {
			continue
		}
		d := DiskError{Read: e.Data.Operation == "read", Reason: e.Data.Reason}
		if _, err := fmt.Sscanf(e.Data.Node, diskNode, &d.Disk); err == nil {
			report(d)
		}
	}
	return lines.Err()
}

// connectMonitor returns both ends of a channel to QEMU's monitor, or none for a
// machine without disks.
func connectMonitor(m Machine) (ours, theirs *os.File, err error) {
	if len(m.Disks) == 0 {
		return nil, nil, nil
	}
	return socketPair("monitor")
}
