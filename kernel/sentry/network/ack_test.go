package network

import (
	"fmt"
	"strings"
	"testing"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
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
	pkt.NetworkHeader().Push(header.IPv4MinimumSize)
	pkt.NetworkProtocolNumber = ipv4.ProtocolNumber
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
		a := ackHold{active: true}
		var out []string
		sent := func(pkt *stack.PacketBuffer) {
			tcp := header.TCP(pkt.TransportHeader().Slice())
			out = append(out, fmt.Sprintf("%d:%d", tcp.SourcePort(), tcp.AckNumber()))
			pkt.DecRef()
		}
		for _, in := range tt.in {
			switch in := in.(type) {
			case string:
				a.turn(in == round, sent)
				out = append(out, in)
			case *stack.PacketBuffer:
				if !a.take(in, sent) {
					in.IncRef()
					sent(in)
				}
				in.DecRef()
			}
		}
		if got := strings.Join(out, " "); got != tt.want {
			t.Errorf("%s: %q went out, want %q", tt.name, got, tt.want)
		}
		if len(a.held) != 0 {
			t.Errorf("%s: %d acknowledgements left over", tt.name, len(a.held))
		}
	}
}
