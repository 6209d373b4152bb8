package network

import (
	"slices"
	"testing"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"kiln/kernel/virtio/net"
	"kiln/kernel/virtio/virtiotest"
)

// TestGather checks after how many packets the device is told of them, by what
// the receive loop has seen.
func TestGather(t *testing.T) {
	tests := []struct {
		name   string
		frames int  // of the last round
		more   bool // frames came in this round: there will be another
		want   []int
	}{
		{"nothing received", 0, false, []int{0, 0, 0}},
		{"one client", 1, true, []int{0, 0, 0}},
		{"some", 8, true, []int{1, 0, 1, 0}},
		{"many", 64, true, []int{1, 2, 3, 4, 5, 6, 7, 0, 1}},
		{"the last round", 64, false, []int{0, 0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			port := virtiotest.NewPort(net.Wanted, [6]byte{2, 0, 0, 0, 0, 1}, 1500)
			dev, err := net.Open(port, port.Mem, net.Options{})
			if err != nil {
				t.Fatal(err)
			}
			l := newLink("eth0", dev)
			l.frames = tt.frames
			l.Idle()
			if !tt.more {
				l.Idle() // nothing came since
			}
			var got []int
			for range tt.want {
				var list stack.PacketBufferList
				list.PushBack(stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(make([]byte, 60))}))
				if n, err := l.WritePackets(list); n != 1 || err != nil {
					t.Fatalf("WritePackets() = %d, %v", n, err)
				}
				list.Reset()
				got = append(got, dev.Tx.Unpublished())
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("packets that the device does not know of: %v, want %v", got, tt.want)
			}
			l.Idle()
			if n := dev.Tx.Unpublished(); n != 0 {
				t.Errorf("%d packets left after the receive loop's round", n)
			}
		})
	}
}

// TestMove: move is copy, for all lengths about its pieces' ends.
func TestMove(t *testing.T) {
	from := make([]byte, 3*shortMove+9)
	for i := range from {
		from[i] = byte(i%251 + 1)
	}
	for _, n := range []int{0, 1, shortMove - 1, shortMove, shortMove + 1, 2 * shortMove, len(from)} {
		for _, room := range []int{n, n + 7, n / 2} {
			got, want := make([]byte, room), make([]byte, room)
			if g, w := move(got, from[:n]), copy(want, from[:n]); g != w || !slices.Equal(got, want) {
				t.Errorf("%d bytes to %d: %d moved, want %d", n, room, g, w)
			}
		}
	}
}
