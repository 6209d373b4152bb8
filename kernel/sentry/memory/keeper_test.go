package memory

import (
	"slices"
	"testing"

	"gvisor.dev/gvisor/pkg/abi"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	_ "gvisor.dev/gvisor/pkg/sentry/syscalls/linux" // the table

	"kiln/kernel/machine"
)

// newTest returns a keeper of a machine with frames free frames of 16384, 737 of
// which programs cannot have.
func newTest(frames *int64) *Keeper {
	k := New(machine.MemInfo{Total: 16384, LowWater: 737})
	k.free = func() int64 { return *frames }
	k.collect = func() {}
	return k
}

// TestMakeRoom: what is cheap is freed first, each source only if the ones before
// did not do, and a task goes on as soon as there is room.
func TestMakeRoom(t *testing.T) {
	for _, tt := range []struct {
		name          string
		free          int64
		pages         int
		first, second int // what the sources can free
		stop          bool
		asked         int // sources that were asked
	}{
		{"room", 1000, 16, 0, 0, false, 0},
		{"just room", 738 + 16, 16, 0, 0, false, 0},
		{"cache", 753, 16, 100, 0, false, 1},
		{"both", 700, 16, 10, 100, false, 2},
	} {
		free, asked := tt.free, 0
		k := newTest(&free)
		source := func(have int) Reclaim {
			return func(pages int) int {
				asked++
				n := min(have, pages)
				free += int64(n)
				return n
			}
		}
		k.reclaim = []Reclaim{source(tt.first), source(tt.second)}
		if stop := k.MakeRoom(context.Background(), tt.pages); stop != tt.stop || asked != tt.asked {
			t.Errorf("%s: MakeRoom = %v after %d sources, want %v after %d", tt.name, stop, asked, tt.stop, tt.asked)
		}
	}
}

// TestMakeRoomCollects: garbage goes before a process does.
func TestMakeRoomCollects(t *testing.T) {
	free := int64(700)
	k := newTest(&free)
	collected := false
	k.collect = func() { collected, free = true, 2000 }
	garbageSink = make([]byte, 8<<20)
	garbageSink = nil
	if k.MakeRoom(context.Background(), 16) || !collected {
		t.Errorf("MakeRoom with garbage: collected %v, want room after a collection", collected)
	}
}

var garbageSink []byte

// TestFilesLeaveRoom: files in memory leave to programs what they have
// themselves, and 3 MB at most.
func TestFilesLeaveRoom(t *testing.T) {
	for _, tt := range []struct{ free, files, most int }{
		{737 + 768 + 100, 10_000, 100},
		{737 + 768 + 100, 800, 100},
		{737 + 500, 10_000, 0},
		{737 + 500, 100, 400},
		{737 + 500, 0, 500},
		{737, 0, 0},
	} {
		free := int64(tt.free)
		k := newTest(&free)
		k.files = func() int { return tt.files }
		for pages := max(0, tt.most-1); pages <= tt.most+1; pages++ {
			if got := k.roomForFiles(pages); got != (pages < tt.most) {
				t.Errorf("%d free, files have %d: room for %d more is %v, want room for fewer than %d", tt.free, tt.files, pages, got, tt.most)
			}
		}
	}
}

// TestChoose: who is killed.
func TestChoose(t *testing.T) {
	const total = 16384
	for _, tt := range []struct {
		name string
		all  []process
		want int // id, 0 for none
	}{
		{"nobody", nil, 0},
		{"largest", []process{{id: 2, resident: 10}, {id: 3, resident: 30}, {id: 4, resident: 20}}, 3},
		{"forked: the youngest of equals", []process{{id: 7, resident: 900}, {id: 9, resident: 900}, {id: 8, resident: 900}}, 9},
		{"what the kernel holds counts", []process{{id: 2, resident: 500}, {id: 3, resident: 100, held: 500}}, 3},
		{"process 1 goes last", []process{{id: 1, resident: 4000}, {id: 2, resident: 3900}}, 2},
		{"process 1 of a server that saves", []process{{id: 1, resident: 9000}, {id: 14, resident: 700}}, 14},
		{"process 1 is all there is", []process{{id: 1, resident: 9000}}, 1},
		{"process 1 has it all", []process{{id: 1, resident: 9000}, {id: 2, resident: 100}}, 1},
		{"process 1 is small, and so are the others", []process{{id: 1, resident: 500}, {id: 2, resident: 10}}, 2},
		{"adjusted up", []process{{id: 2, resident: 5000}, {id: 3, resident: 10, adjust: 500}}, 3},
		{"adjusted down", []process{{id: 2, resident: 5000, adjust: -500}, {id: 3, resident: 10}}, 3},
		{"exempt", []process{{id: 2, resident: 5000, adjust: -1000}, {id: 3, resident: 10}}, 3},
		{"process 1 before an exempt one", []process{{id: 1, resident: 10}, {id: 2, resident: 5000, adjust: -1000}}, 1},
		{"all exempt", []process{{id: 1, resident: 10, adjust: -1000}, {id: 2, resident: 50, adjust: -1000}}, 2},
	} {
		got := 0
		if p := choose(tt.all, nil, total); p != nil {
			got = int(p.id)
		}
		if got != tt.want {
			t.Errorf("%s: process %d, want %d", tt.name, got, tt.want)
		}
	}
}

// TestChooseAsking: where nobody has much, who asks for more is killed.
func TestChooseAsking(t *testing.T) {
	const total = 16384
	group := new(kernel.ThreadGroup)
	small := []process{{id: 1, resident: 500}, {id: 2, group: group, resident: 20, family: 2}, {id: 3, resident: 30, family: 3}}
	if p := choose(small, group, total); p == nil || p.id != 2 {
		t.Errorf("among small processes %+v is chosen, want the one that asks", p)
	}
	bomb := append(small[:3:3], process{id: 5, resident: 30, family: 3}, process{id: 6, resident: 30, family: 3}, process{id: 7, resident: 30, family: 3})
	if p := choose(bomb, group, total); p == nil || p.id != 7 {
		t.Errorf("beside a large family %+v is chosen, want its youngest", p)
	}
	large := append(small, process{id: 4, resident: 5000})
	if p := choose(large, group, total); p == nil || p.id != 4 {
		t.Errorf("beside a large process %+v is chosen, want the large one", p)
	}
}

// TestShare: the kernel's objects may have 10/32 of memory, and 4/32 more those
// of who has few.
func TestShare(t *testing.T) {
	if got := newShare(64 << 20); got.bytes != 20<<20 || got.most != 28<<20 {
		t.Errorf("share of 64 MB = %d and %d, want %d and %d", got.bytes, got.most, 20<<20, 28<<20)
	}
	if got := newShare(16 << 20).bytes; got != minShare {
		t.Errorf("share of 16 MB = %d, want %d", got, minShare)
	}
}

// TestFull: a call is refused only while the share is exceeded after a
// collection.
func TestFull(t *testing.T) {
	free := int64(1000)
	k := newTest(&free)
	k.share.bytes = 1
	k.look()
	if !k.Full(nil) {
		t.Error("Full = false with a share of one byte")
	}
	k.share.bytes = 1 << 40
	k.share.looked.Store(-int64(shareLook))
	if k.Full(nil) {
		t.Error("Full = true after a collection that found it is not")
	}
}

// TestMaxThreads compares with what Linux 6.1 shows in a machine of that size,
// but for what its own image takes.
func TestMaxThreads(t *testing.T) {
	free := int64(1000)
	if got := newTest(&free).MaxThreads(); got != 512 {
		t.Errorf("threads in 64 MB = %d, want 512", got)
	}
}

// TestWrapped: each call that is replaced exists.
func TestWrapped(t *testing.T) {
	table, ok := kernel.LookupSyscallTable(abi.Linux, arch.AMD64)
	if !ok {
		t.Fatal("no system call table")
	}
	for nr := range makers {
		if table.Table[nr].Fn == nil {
			t.Errorf("system call %d is refused but does not exist", nr)
		}
	}
	for nr := range conditional {
		if table.Table[nr].Fn == nil {
			t.Errorf("system call %d is refused but does not exist", nr)
		}
	}
}

// TestHogs: who holds most is a hog, and so is who holds a quarter as much; who
// holds next to nothing is none, even beside others with less.
func TestHogs(t *testing.T) {
	const share = 20 << 20
	for _, tt := range []struct{ weights, hogs []int }{
		{[]int{100 << 10, 16 << 20, 50 << 10}, []int{16 << 20}},
		{[]int{8 << 20, 2 << 20, 1 << 20}, []int{8 << 20, 2 << 20}},
		{[]int{64 << 10, 96 << 10, 32 << 10}, nil},
	} {
		var hogs []int
		for _, w := range tt.weights {
			if w >= hogWeight(tt.weights, share) {
				hogs = append(hogs, w)
			}
		}
		if !slices.Equal(hogs, tt.hogs) {
			t.Errorf("of %d the hogs are %d, want %d", tt.weights, hogs, tt.hogs)
		}
	}
}

// TestSpare: process 1 is left alone for a while when it is all there is to kill
// and has little: the others' memory may come back.
func TestSpare(t *testing.T) {
	free := int64(0)
	k := newTest(&free)
	init := &process{id: 1, resident: 100}
	if !k.spare(init) {
		t.Error("a small process 1 is killed at once")
	}
	k.starved = k.starved.Add(-dyingPatience)
	if k.spare(init) {
		t.Error("a small process 1 is not killed even when nothing came back for long")
	}
	if k.spare(&process{id: 1, resident: 9000}) || k.spare(&process{id: 2, resident: 1}) {
		t.Error("another than a small process 1 is spared")
	}
}
