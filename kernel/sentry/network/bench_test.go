package network

import (
	"encoding/binary"
	"fmt"
	"testing"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"kiln/kernel/virtio/net"
	"kiln/kernel/virtio/virtiotest"
)

// sizes are a Redis request, a full frame and a large segment.
var sizes = []int{100, 1500, 60000}

// BenchmarkSend is the cost of handing one packet to the device, the device's
// part (a used ring entry) included.
func BenchmarkSend(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			n := newNode(b, net.Wanted, 1, static(1))
			ring := n.port.Ring(1)
			payload := make([]byte, size-40)
			used := make([]virtiotest.Used, 1)
			pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{ReserveHeaderBytes: 54, Payload: buffer.MakeWithData(payload)})
			pkt.TransportHeader().Push(header.TCPMinimumSize)
			pkt.NetworkHeader().Push(header.IPv4MinimumSize)
			pkt.LinkHeader().Push(header.EthernetMinimumSize)
			pkt.GSOOptions = stack.GSO{Type: stack.GSOTCPv4, NeedsCsum: true, CsumOffset: 16, MSS: 1460, L3HdrLen: 20, MaxSize: gsoMaxSize}
			var list stack.PacketBufferList
			list.PushBack(pkt)
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				if _, err := n.link.WritePackets(list); err != nil {
					b.Fatal(err)
				}
				for {
					head, ok, err := ring.Take()
					if err != nil {
						b.Fatal(err)
					}
					if !ok {
						break
					}
					used[0].ID = uint32(head)
					ring.PushAll(used)
				}
			}
			if d := n.link.dropped.Load(); d != 0 {
				b.Fatalf("%d packets dropped", d)
			}
		})
	}
}

// null is a dispatcher that takes packets as far as the network layer would.
type null struct{ packets int }

func (d *null) DeliverNetworkPacket(tcpip.NetworkProtocolNumber, *stack.PacketBuffer) { d.packets++ }
func (d *null) DeliverLinkPacket(tcpip.NetworkProtocolNumber, *stack.PacketBuffer)    {}

// BenchmarkFrame is the cost of one received frame up to netstack's door.
func BenchmarkFrame(b *testing.B) {
	for _, size := range sizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			n := newNode(b, net.Wanted, 2, static(2))
			var d stack.NetworkDispatcher = &null{}
			n.link.dispatcher.Store(&d)
			f := append(udpFrame(""), make([]byte, size)...)
			binary.BigEndian.PutUint16(f[16:], uint16(size))
			ip := header.IPv4(f[14:])
			ip.SetChecksum(0)
			ip.SetChecksum(^ip.CalculateChecksum())
			h := net.Header{Flags: net.FlagDataValid}
			parts := make([][]byte, 0, 64)
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				parts = parts[:0]
				for rest := f; len(rest) > 0; {
					k := min(len(rest), 2048)
					parts = append(parts, rest[:k])
					rest = rest[k:]
				}
				n.link.Frame(&h, parts, len(f))
			}
			if d.(*null).packets == 0 {
				b.Fatal("nothing was delivered")
			}
		})
	}
}

// BenchmarkEcho is one request and its answer over TCP between two stacks:
// four packets at most, all goroutine hops of both sides.
func BenchmarkEcho(b *testing.B) {
	x, y := newNode(b, net.Wanted, 1, static(1)), newNode(b, net.Wanted, 2, static(2))
	wire(b, x, y)
	full := tcpip.FullAddress{Addr: tcpip.AddrFrom4([4]byte{10, 9, 0, 2}), Port: 4000}
	l, err := gonet.ListenTCP(y.ip, full, ipv4.ProtocolNumber)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		buf := make([]byte, 1000)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			if _, err := c.Write(buf[:n]); err != nil {
				return
			}
		}
	}()
	c, err := gonet.DialTCP(x.ip, full, ipv4.ProtocolNumber)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 60)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(buf); err != nil {
			b.Fatal(err)
		}
		if _, err := c.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
}
