package powercut_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// crasher makes a guest's kernel panic in the middle of whatever it does: by
// QEMU's stub for debuggers it puts UD2, an instruction that is none, at the
// beginning of a function of the kernel's that the next system call runs.
type crasher struct {
	socket string // of the stub
	at     string // the function's address, in hexadecimal
}

// crashedFunction is what each system call of a program runs.
const crashedFunction = "gvisor.dev/gvisor/pkg/sentry/kernel.(*Task).executeSyscall"

// newCrasher has the rig's guests started with the stub.
func newCrasher(r *rig, image string) *crasher {
	r.t.Helper()
	c := &crasher{socket: filepath.Join(r.dir, "gdb")}
	for line := range strings.Lines(r.command(r.kiln, "inspect", "--symbols", image)) {
		if f := strings.Fields(line); len(f) > 0 && f[len(f)-1] == crashedFunction {
			c.at = strings.TrimPrefix(f[0], "0x")
		}
	}
	if c.at == "" {
		r.t.Fatalf("the kernel has no %s", crashedFunction)
	}
	const qemu = "qemu-system-x86_64"
	real, err := exec.LookPath(qemu)
	if err != nil {
		r.t.Fatal(err)
	}
	bin := filepath.Join(r.dir, "bin")
	script := fmt.Sprintf("#!/bin/sh\nexec %s \"$@\" -gdb unix:%s,server=on,wait=off\n", real, c.socket)
	if err := os.Mkdir(bin, 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, qemu), []byte(script), 0o755); err != nil {
		r.t.Fatal(err)
	}
	r.env = append(r.env, "PATH="+bin+":"+os.Getenv("PATH"))
	return c
}

// crash makes the running guest's kernel panic.
func (c *crasher) crash() error {
	conn, err := net.Dial("unix", c.socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	// Connecting has stopped the guest. M writes memory, D lets it go on.
	for _, packet := range []string{"M" + c.at + ",2:0f0b", "D"} {
		sum := byte(0)
		for i := range len(packet) {
			sum += packet[i]
		}
		if _, err := fmt.Fprintf(conn, "$%s#%02x", packet, sum); err != nil {
			return err
		}
		var answer []byte
		for !strings.Contains(string(answer), "$OK#") {
			b := make([]byte, 256)
			n, err := conn.Read(b)
			if err != nil {
				return fmt.Errorf("%s: %q: %w", packet, answer, err)
			}
			answer = append(answer, b[:n]...)
		}
	}
	return nil
}

// TestPanic: a kernel that panics loses nothing that it acknowledged. All that
// QEMU was given by then reaches the disk, which has no cut.
func TestPanic(t *testing.T) {
	r := newRig(t)
	image := bakeRecorder(r)
	c := newCrasher(r, image)
	l := &ledger{deaf: true}
	for i := range cuts() {
		before := l.acked
		if wrong := l.panicRound(r, c, image); wrong != "" {
			t.Fatalf("panic %d: %s", i+1, wrong)
		}
		t.Logf("panic %d: log %d → %d, state %d, file %d", i+1, before.log, l.acked.log, l.acked.state, l.acked.file)
	}
	l.restart()
	g := r.boot(image, "--", "/data", "verify")
	for line := range g.lines {
		if wrong := l.hear(line); wrong != "" {
			t.Errorf("after the last panic: %s", wrong)
		}
	}
	if status := g.finish(); status != 0 || !l.ready || l.acked.log == 0 {
		t.Errorf("recorder ended with status %d after %d records\n%s", status, l.acked.log, g.stderr.String())
	}
	r.command("/usr/sbin/e2fsck", "-fn", r.image)
}

// panicRound boots recorder, lets it run for a while after it is ready, and
// crashes the kernel. It returns what is wrong.
func (l *ledger) panicRound(r *rig, c *crasher, image string) string {
	r.t.Helper()
	l.restart()
	g := r.boot(image, "--", "/data")
	limit := time.After(bootTime)
	var now <-chan time.Time
	crashed := false
	for {
		select {
		case line, ok := <-g.lines:
			if !ok {
				return l.afterPanic(g, crashed)
			}
			// The report of the panic is no word of the recorder's, and may
			// begin in the middle of one: what counts less is not heard.
			heard := *l
			if wrong := heard.hear(line); wrong == "" && !(crashed && heard.acked.less(l.acked)) {
				*l = heard
			} else if !crashed {
				g.cmd.Process.Kill()
				return wrong
			}
			if l.ready && now == nil {
				now = time.After(r.moment(1500 * time.Millisecond))
			}
		case <-now:
			crashed = true
			if err := c.crash(); err != nil {
				g.cmd.Process.Kill()
				return err.Error()
			}
		case <-limit:
			g.cmd.Process.Kill()
			return fmt.Sprintf("the guest has not ended after %v", bootTime)
		}
	}
}

// afterPanic looks at a guest that has ended, and at what it left.
func (l *ledger) afterPanic(g *guest, crashed bool) string {
	g.end()
	if status := g.cmd.ProcessState.ExitCode(); !crashed || status != 254 {
		return fmt.Sprintf("crashed %v, status %d\n%s", crashed, status, g.stderr.String())
	}
	if err := g.server.Drain(); err != nil {
		return fmt.Sprintf("serving the disk: %v", err)
	}
	if err := g.r.disk.Flush(); err != nil {
		return err.Error()
	}
	g.r.check()
	return ""
}

// less reports whether any number of n is smaller than m's.
func (n numbers) less(m numbers) bool {
	for i := range n.slot {
		if n.slot[i] < m.slot[i] {
			return true
		}
	}
	return n.log < m.log || n.state < m.state || n.file < m.file
}
