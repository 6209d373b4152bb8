package network

import (
	"fmt"
	"strings"
	"testing"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"kiln/kernel/virtio/net"
)

// segment makes an outgoing TCP segment from port to port 9.
func segment(port uint16, flags header.TCPFlags, ack uint32, window uint16, options, data []byte) *stack.PacketBuffer {
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{
		ReserveHeaderBytes: 100,
		Payload:            buffer.MakeWithData(data),
	})
	tcp := header.TCP(pkt.TransportHeader().Push(header.TCPMinimumSize + len(options)))
	tcp.Encode(&header.TCPFields{SrcPort: port, DstPort: 9, AckNum: ack, Flags: flags, WindowSize: window,
		DataOffset: uint8(header.TCPMinimumSize + len(options))})
	copy(tcp[header.TCPMinimumSize:], options)
	pkt.TransportProtocolNumber = header.TCPProtocolNumber
	return pkt
}

// TestAckHold sends sequences of segments through a hold and compares what
// comes out, as "port:acknowledgement" words; "|" is the end of a round, "."
// that of the last.
func TestAckHold(t *testing.T) {
	stamp := []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}
	sack := []byte{1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2}
	ack := func(port uint16, n uint32) *stack.PacketBuffer {
		return segment(port, header.TCPFlagAck, n, 100, stamp, nil)
	}
	data := func(port uint16, n uint32) *stack.PacketBuffer {
		return segment(port, header.TCPFlagAck|header.TCPFlagPsh, n, 100, stamp, []byte("x"))
	}
	const round, end = "|", "."
	tests := []struct {
		name string
		in   []any
		want string
	}{
		{"reply replaces", []any{ack(1, 5), data(1, 5), end}, "1:5 ."},
		{"no reply", []any{ack(1, 5), round, round, end}, "| 1:5 | ."},
		{"last round", []any{ack(1, 5), end}, "1:5 ."},
		{"newer replaces", []any{ack(1, 5), ack(1, 6), end}, "1:6 ."},
		{"stride", []any{ack(1, 5), ack(1, 5+ackStride), end}, "1:5 1:32773 ."},
		{"duplicate", []any{ack(1, 5), ack(1, 5), ack(1, 5), end}, "1:5 1:5 1:5 ."},
		{"window", []any{ack(1, 5), segment(1, header.TCPFlagAck, 5, 200, stamp, nil), end}, "1:5 ."},
		{"other connection", []any{ack(1, 5), data(2, 9), end}, "2:9 1:5 ."},
		{"older data", []any{ack(1, 5), data(1, 4), end}, "1:5 1:4 ."},
		{"selective", []any{segment(1, header.TCPFlagAck, 5, 100, sack, nil), end}, "1:5 ."},
		{"fin", []any{ack(1, 5), segment(1, header.TCPFlagAck|header.TCPFlagFin, 6, 100, nil, nil), end}, "1:6 ."},
		{"after the end", []any{end, ack(1, 5)}, ". 1:5"},
		{"wraps", []any{ack(1, 0xfffffff0), ack(1, 4), end}, "1:4 ."},
	}
	for _, tt := range tests {
		w := &wireLog{}
		a := ackHold{active: true}
		routes := map[uint16]*stack.Route{}
		for _, in := range tt.in {
			switch in := in.(type) {
			case string:
				a.turn(in == round)
				w.out = append(w.out, in)
			case *stack.PacketBuffer:
				port := header.TCP(in.TransportHeader().Slice()).SourcePort()
				if routes[port] == nil {
					routes[port] = new(stack.Route)
				}
				params := stack.NetworkHeaderParams{Protocol: header.TCPProtocolNumber, TTL: uint8(port)}
				if err := a.write(w, routes[port], params, in); err != nil {
					t.Errorf("%s: write: %v", tt.name, err)
				}
				in.DecRef()
			}
		}
		if got := strings.Join(w.out, " "); got != tt.want {
			t.Errorf("%s: %q went out, want %q", tt.name, got, tt.want)
		}
		if len(a.held) != 0 {
			t.Errorf("%s: %d acknowledgements left over", tt.name, len(a.held))
		}
	}
}

// wireLog notes the segments that are sent.
type wireLog struct{ out []string }

func (w *wireLog) WritePacket(_ *stack.Route, params stack.NetworkHeaderParams, pkt *stack.PacketBuffer) tcpip.Error {
	tcp := header.TCP(pkt.TransportHeader().Slice())
	w.out = append(w.out, fmt.Sprintf("%d:%d", tcp.SourcePort(), tcp.AckNumber()))
	if uint16(params.TTL) != tcp.SourcePort() {
		w.out = append(w.out, "with another's parameters")
	}
	return nil
}

// TestProtocols: acknowledgements are kept back on interfaces with a device,
// and only there.
func TestProtocols(t *testing.T) {
	n := newNode(t, net.Wanted, 1, static(1))
	for _, tt := range []struct {
		nic   tcpip.NICID
		proto tcpip.NetworkProtocolNumber
		want  string
	}{
		{1, header.IPv4ProtocolNumber, "*ipv4.endpoint"},
		{1, header.IPv6ProtocolNumber, "*ipv6.endpoint"},
		{n.nic, header.IPv4ProtocolNumber, "network.ipv4Endpoint"},
		{n.nic, header.IPv6ProtocolNumber, "network.ipv6Endpoint"},
	} {
		ep, err := n.ip.GetNetworkEndpoint(tt.nic, tt.proto)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%T", ep); got != tt.want {
			t.Errorf("interface %d, protocol %#x: %s, want %s", tt.nic, tt.proto, got, tt.want)
		}
	}
}

// TestAckHoldFull: no more than ackHoldLimit connections have an
// acknowledgement on hold, and each that goes makes room.
func TestAckHoldFull(t *testing.T) {
	w := &wireLog{}
	a := ackHold{active: true}
	var routes [ackHoldLimit + 20]stack.Route
	params := stack.NetworkHeaderParams{Protocol: header.TCPProtocolNumber, TTL: 1}
	send := func(i int, data []byte) {
		pkt := segment(1, header.TCPFlagAck, uint32(i), 100, nil, data)
		defer pkt.DecRef()
		if err := a.write(w, &routes[i], params, pkt); err != nil {
			t.Fatal(err)
		}
	}
	for i := range ackHoldLimit {
		send(i, nil)
	}
	if len(w.out) != 0 {
		t.Fatalf("%d acknowledgements went out, want none", len(w.out))
	}
	send(ackHoldLimit, nil)
	for _, i := range []int{0, 7, ackHoldLimit - 1} {
		send(i, []byte("x"))
	}
	if got, want := strings.Join(w.out, " "), "1:256 1:0 1:7 1:255"; got != want {
		t.Errorf("%q went out, want %q", got, want)
	}
	w.out = nil
	for i := range 4 { // room for three
		send(ackHoldLimit+1+i, nil)
	}
	if got, want := strings.Join(w.out, " "), "1:260"; got != want {
		t.Errorf("%q went out, want %q", got, want)
	}
	w.out = nil
	a.turn(false)
	seen := map[string]bool{}
	for _, s := range w.out {
		seen[s] = true
	}
	if len(w.out) != ackHoldLimit || len(seen) != ackHoldLimit || seen["1:7"] || !seen["1:1"] || !seen["1:259"] {
		t.Errorf("%d acknowledgements went out at the end, %d different", len(w.out), len(seen))
	}
}
