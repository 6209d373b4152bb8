package qemu

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestDeepenBacklog opens more connections at once than a listener with
// QEMU's backlog of 1 takes. The listener is in another process, as QEMU's is:
// this test program, started once more.
func TestDeepenBacklog(t *testing.T) {
	const clients = 20
	if addr := os.Getenv("KILN_TEST_LISTEN"); addr != "" {
		listenForever(t, addr)
	}
	free, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := free.Addr().(*net.TCPAddr).AddrPort()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=TestDeepenBacklog")
	cmd.Env = append(os.Environ(), "KILN_TEST_LISTEN="+at.String())
	p := &Process{cmd: cmd, done: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { cmd.Wait(); close(p.done) }()
	t.Cleanup(func() { cmd.Process.Kill(); <-p.done })

	if err := p.DeepenBacklog([]netip.AddrPort{at}); err != nil {
		t.Fatalf("DeepenBacklog: %v", err)
	}
	for i := range clients {
		c, err := net.DialTimeout("tcp4", at.String(), 5*time.Second)
		if err != nil {
			t.Fatalf("connection %d of %d, nobody accepting: %v", i+1, clients, err)
		}
		defer c.Close()
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.done
	if err := p.DeepenBacklog([]netip.AddrPort{at}); err != nil {
		t.Errorf("DeepenBacklog of a process that has ended: %v", err)
	}
}

// listenForever listens with a backlog of 1 and accepts nothing.
func listenForever(t *testing.T, addr string) {
	ap := netip.MustParseAddrPort(addr)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 1); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Minute)
	os.Exit(0)
}
