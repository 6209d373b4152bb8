package network

import (
	stdnet "net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"kiln/kernel/virtio"
	"kiln/kernel/virtio/net"
)

// tapNode starts a QEMU with a tap device between the host, 198.18.77.1, and a
// stack, 198.18.77.2. Over tap, unlike user networking, QEMU passes checksum
// and segmentation offload through to Linux.
func tapNode(t *testing.T) *Stack {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("a tap interface needs root")
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skipf("a tap interface needs /dev/net/tun: %v", err)
	}
	name := "kt" + strconv.Itoa(os.Getpid())
	for _, args := range [][]string{
		{"tuntap", "add", name, "mode", "tap", "vnet_hdr"},
		{"addr", "add", "198.18.77.1/30", "dev", name},
		{"link", "set", name, "up"},
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Skipf("ip %v: %v: %s", args, err, out)
		}
		if args[0] == "tuntap" {
			t.Cleanup(func() {
				if out, err := exec.Command("ip", "link", "del", name).CombinedOutput(); err != nil {
					t.Errorf("ip link del: %v: %s", err, out)
				}
			})
		}
	}
	q := startQEMU(t, "q35", "-netdev", "tap,id=n0,ifname="+name+",script=no,downscript=no", "-device", "virtio-net-pci,netdev=n0")
	d, err := net.Open(q.pciTransports(t)[virtio.DeviceNet], q, net.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if want := net.Wanted &^ net.FeatureMTU; !d.Has(want) {
		t.Fatalf("not all of %v were agreed on", want)
	}
	s, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.ip.Close)
	if err := s.Attach(d, Interface{Name: "eth0", IPv4: Family{Mode: ModeStatic, Address: netip.MustParsePrefix("198.18.77.2/30")}}); err != nil {
		t.Fatal(err)
	}
	return s
}

// counter notes the size of the largest packet that it passes on.
type counter struct {
	stack.NetworkDispatcher
	largest atomic.Int64
}

func (c *counter) DeliverNetworkPacket(p tcpip.NetworkProtocolNumber, pkt *stack.PacketBuffer) {
	c.largest.Store(max(c.largest.Load(), int64(pkt.Size())))
	c.NetworkDispatcher.DeliverNetworkPacket(p, pkt)
}

func TestQEMUTap(t *testing.T) {
	s := tapNode(t)
	full := tcpip.FullAddress{Addr: tcpip.AddrFrom4([4]byte{198, 18, 77, 2}), Port: 4000}
	nic, terr := s.ip.GetNICByID(2)
	if terr != nil {
		t.Fatal(terr)
	}
	link := nic.NetworkLinkEndpoint.(*link)
	count := &counter{NetworkDispatcher: *link.dispatcher.Load()}
	var d stack.NetworkDispatcher = count
	link.dispatcher.Store(&d)
	l, err := gonet.ListenTCP(s.ip, full, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go echo(l)
	c, err := stdnet.DialTimeout("tcp4", "198.18.77.2:4000", 20*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(60 * time.Second))
	const size = 16 << 20
	start := time.Now()
	thereAndBack(t, c, size)
	t.Logf("%.0f MB/s each way", size/1e6/time.Since(start).Seconds())
	// How large is Linux's choice, but it does not stay with single frames.
	if n := count.largest.Load(); n < 4*1500 {
		t.Errorf("the largest packet received had %d bytes: large segments are cut", n)
	}
	st := s.ip.Stats()
	if n := st.TCP.ChecksumErrors.Value(); n != 0 {
		t.Errorf("%d checksum errors", n)
	}
}
