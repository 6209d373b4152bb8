package virtio

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"kiln/kernel/pci"
	"kiln/kernel/pci/mmio"
	"kiln/kernel/pci/pcitest"
)

// fakeIRQ records what is done to it.
type fakeIRQ struct{ log *[]string }

func (f fakeIRQ) Wait() error  { *f.log = append(*f.log, "wait"); return nil }
func (f fakeIRQ) Ack() error   { *f.log = append(*f.log, "unmask"); return nil }
func (f fakeIRQ) Close() error { *f.log = append(*f.log, "close"); return nil }

// regs is a register file with side effects on writes and reads.
type regs struct {
	b       []byte
	onWrite func(off int, v uint32)
	onRead  func(off int)
}

func (r *regs) read(off int) {
	if r.onRead != nil {
		r.onRead(off)
	}
}
func (r *regs) Read8(off int) uint8   { r.read(off); return r.b[off] }
func (r *regs) Read16(off int) uint16 { r.read(off); return binary.LittleEndian.Uint16(r.b[off:]) }
func (r *regs) Read32(off int) uint32 { r.read(off); return binary.LittleEndian.Uint32(r.b[off:]) }
func (r *regs) Write8(off int, v uint8) {
	r.b[off] = v
	r.wrote(off, uint32(v))
}
func (r *regs) Write16(off int, v uint16) {
	binary.LittleEndian.PutUint16(r.b[off:], v)
	r.wrote(off, uint32(v))
}
func (r *regs) Write32(off int, v uint32) {
	binary.LittleEndian.PutUint32(r.b[off:], v)
	r.wrote(off, v)
}
func (r *regs) wrote(off int, v uint32) {
	if r.onWrite != nil {
		r.onWrite(off, v)
	}
}

var _ mmio.Registers = (*regs)(nil)

// mmioModel is a device behind MMIO registers.
type mmioModel struct {
	regs
	pending  uint32 // interrupt status
	features Features
	driver   Features
	queues   map[uint32][3]uint64
	notified []uint32
}

func newMMIOModel(id DeviceID, version uint32) *mmioModel {
	m := &mmioModel{queues: map[uint32][3]uint64{}}
	m.b = make([]byte, 0x200)
	put := func(off int, v uint32) { binary.LittleEndian.PutUint32(m.b[off:], v) }
	get := func(off int) uint32 { return binary.LittleEndian.Uint32(m.b[off:]) }
	put(mmioMagic, mmioMagicValue)
	put(mmioVersion, version)
	put(mmioDeviceID, uint32(id))
	put(mmioQueueMax, 64)
	m.onWrite = func(off int, v uint32) {
		switch off {
		case mmioDeviceSel:
			put(mmioDeviceFeatures, uint32(m.features>>(32*v)))
		case mmioDriverFeatures:
			m.driver |= Features(v) << (32 * get(mmioDriverSel))
		case mmioQueueSel:
			put(mmioQueueReady, 0)
			put(mmioQueueMax, map[bool]uint32{true: 64}[v < 2])
		case mmioQueueReady:
			var q [3]uint64
			for i, r := range []int{mmioQueueDesc, mmioQueueAvail, mmioQueueUsed} {
				q[i] = uint64(get(r)) | uint64(get(r+4))<<32
			}
			m.queues[get(mmioQueueSel)] = q
		case mmioQueueNotify:
			m.notified = append(m.notified, v)
		case mmioIntACK:
			m.pending &^= v
		}
	}
	return m
}

func TestMMIO(t *testing.T) {
	var log []string
	m := newMMIOModel(DeviceNet, mmioVersionModern)
	m.features = FeatureVersion1 | FeatureEventIdx | 1<<5
	tr, err := NewMMIO(m, 0x200, fakeIRQ{&log})
	if err != nil {
		t.Fatal(err)
	}
	if got := tr.DeviceFeatures(); got != m.features {
		t.Errorf("DeviceFeatures = %v, want %v", got, m.features)
	}
	tr.SetDriverFeatures(FeatureVersion1 | 1<<5)
	if want := FeatureVersion1 | 1<<5; m.driver != want {
		t.Errorf("driver features %v, want %v", m.driver, want)
	}
	if err := tr.EnableQueue(1, 32, 0x1_0000_1000, 0x1_0000_2000, 0x1_0000_3000); err != nil {
		t.Fatal(err)
	}
	if got, want := m.queues[1], [3]uint64{0x1_0000_1000, 0x1_0000_2000, 0x1_0000_3000}; got != want {
		t.Errorf("queue at %#x, want %#x", got, want)
	}
	tr.Notify(1)
	if len(m.notified) != 1 || m.notified[0] != 1 {
		t.Errorf("notified %v, want [1]", m.notified)
	}
	m.pending = intUsedBuffer | intConfigChange
	if err := tr.Wait(); err != nil {
		t.Fatal(err)
	}
	if m.pending != 0 {
		t.Errorf("interrupt status %#x after Wait, want 0", m.pending)
	}
	if got, want := strings.Join(log, " "), "wait"; got != want {
		t.Errorf("Wait did %q, want %q", got, want)
	}
}

func TestMMIOConfigGeneration(t *testing.T) {
	m := newMMIOModel(DeviceNet, mmioVersionModern)
	tr, err := NewMMIO(m, 0x200, fakeIRQ{new([]string)})
	if err != nil {
		t.Fatal(err)
	}
	copy(m.b[mmioConfig:], "old!")
	changes := 1
	m.onRead = func(off int) {
		if off == mmioConfig+2 && changes > 0 { // in the middle of a read
			changes--
			m.b[mmioGeneration]++
			copy(m.b[mmioConfig:], "new?")
		}
	}
	b := make([]byte, 4)
	if err := tr.ReadConfig(0, b); err != nil || string(b) != "new?" {
		t.Errorf("ReadConfig = %q, %v; want %q", b, err, "new?")
	}
	changes = 1 << 30
	if err := tr.ReadConfig(0, b); !errors.Is(err, ErrDevice) {
		t.Errorf("ReadConfig of what always changes = %v, want %v", err, ErrDevice)
	}
	if err := tr.ReadConfig(0xfe, b); err == nil {
		t.Error("ReadConfig past the registers did not fail")
	}
}

func TestMMIORefuses(t *testing.T) {
	m := newMMIOModel(DeviceNet, mmioVersionLegacy)
	if _, err := NewMMIO(m, 0x200, nil); err == nil || !strings.Contains(err.Error(), "force-legacy=false") {
		t.Errorf("legacy device: %v, want a hint at force-legacy", err)
	}
	if id, err := probeMMIO(newMMIOModel(DeviceNone, mmioVersionLegacy)); id != DeviceNone || err != nil {
		t.Errorf("empty slot = %v, %v; want no device and no error", id, err)
	}
	m.b[0] = 0
	if _, err := NewMMIO(m, 0x200, nil); err == nil {
		t.Error("wrong magic is no error")
	}
}

// pciModel is a device on a fake bus: BAR 4 has the common registers at 0, the
// doorbells at 0x3000, configuration at 0x2000; BAR 1 the MSI-X table.
func pciModel(t *testing.T) (*pci.Function, pci.MapBAR, map[int]*regs) {
	bus := pcitest.Bus{}
	a := pci.Address{Bus: 0, Device: 3}
	s := bus.Add(a, pciVendor, pciModern+uint16(DeviceNet), 0x0200, 0)
	s.SetBAR(1, 0xfebd1000, 0x1000, false, 0)
	s.SetBAR(4, 0xfe00000000, 0x4000, true, 8)
	s.AddCap(pci.CapMSIX, []byte{2, 0, 1, 0, 0, 0, 1, 8, 0, 0})
	vendor := func(kind byte, off, n uint32, more ...byte) {
		body := append([]byte{byte(16 + len(more)), kind, 4, 0, 0, 0}, binary.LittleEndian.AppendUint32(nil, off)...)
		body = binary.LittleEndian.AppendUint32(body, n)
		s.AddCap(pci.CapVendor, append(body, more...))
	}
	vendor(5, 0, 0) // access through configuration space: not used
	vendor(capNotify, 0x3000, 0x1000, 4, 0, 0, 0)
	vendor(capDevice, 0x2000, 0x40)
	vendor(capCommon, 0, 0x38)
	maps := map[int]*regs{}
	mapBAR := func(bar, off, size int) (mmio.Registers, error) {
		r := &regs{b: make([]byte, size)}
		maps[bar<<16|off] = r
		return r, nil
	}
	return pci.Scan(bus)[0], mapBAR, maps
}

func TestPCI(t *testing.T) {
	// The model's bus has no function 0 on device 0; Scan goes on all the same.
	f, mapBAR, maps := pciModel(t)
	var log []string
	tr, err := NewPCI(f, mapBAR, fakeIRQ{&log}, 0xfee00000, 0x31)
	if err != nil {
		t.Fatal(err)
	}
	if got := tr.DeviceID(); got != DeviceNet {
		t.Errorf("DeviceID = %v, want %v", got, DeviceNet)
	}
	if got, want := f.Read16(4)&0x406, uint16(0x406); got != want {
		t.Errorf("command = %#x, want memory, master, no INTx", f.Read16(4))
	}
	table := maps[1<<16]
	if got := table.Read32(8); got != 0x31 {
		t.Errorf("MSI-X data %#x, want 0x31", got)
	}
	common := maps[4<<16]
	binary.LittleEndian.PutUint16(common.b[pciQueueNotifyOff:], 2)
	if err := tr.EnableQueue(1, 64, 0x1_0000_1000, 0x1_0000_2000, 0x1_0000_3000); err != nil {
		t.Fatal(err)
	}
	if got := binary.LittleEndian.Uint64(common.b[pciQueueDevice:]); got != 0x1_0000_3000 {
		t.Errorf("used ring at %#x, want 0x100003000", got)
	}
	tr.Notify(1)
	if got := maps[4<<16|0x3000].Read16(8); got != 1 {
		t.Errorf("doorbell at 2*4 = %d, want 1", got)
	}
	copy(maps[4<<16|0x2000].b, "\x52\x54\x00\x12\x34\x56")
	b := make([]byte, 6)
	if err := tr.ReadConfig(0, b); err != nil || b[5] != 0x56 {
		t.Errorf("ReadConfig = %x, %v", b, err)
	}
	if err := tr.ReadConfig(0x3f, b); err == nil {
		t.Error("ReadConfig past the end did not fail")
	}
}

func TestPCINoVector(t *testing.T) {
	f, mapBAR, maps := pciModel(t)
	tr, err := NewPCI(f, mapBAR, fakeIRQ{new([]string)}, 0xfee00000, 0x31)
	if err != nil {
		t.Fatal(err)
	}
	common := maps[4<<16]
	common.onWrite = func(off int, v uint32) {
		if off == pciQueueVector {
			binary.LittleEndian.PutUint16(common.b[off:], pciNoVector)
		}
	}
	if err := tr.EnableQueue(0, 64, 0x1000, 0x2000, 0x3000); !errors.Is(err, ErrDevice) {
		t.Errorf("EnableQueue without a vector = %v, want %v", err, ErrDevice)
	}
}

func TestPCIDoorbellOutside(t *testing.T) {
	f, mapBAR, maps := pciModel(t)
	tr, err := NewPCI(f, mapBAR, fakeIRQ{new([]string)}, 0xfee00000, 0x31)
	if err != nil {
		t.Fatal(err)
	}
	binary.LittleEndian.PutUint16(maps[4<<16].b[pciQueueNotifyOff:], 0x400)
	if err := tr.EnableQueue(0, 64, 0x1000, 0x2000, 0x3000); !errors.Is(err, ErrDevice) {
		t.Errorf("EnableQueue with a doorbell outside = %v, want %v", err, ErrDevice)
	}
}

func TestParseSlots(t *testing.T) {
	got, err := parseSlots("console=ttyS0 virtio_mmio.device=512@0xfeb00e00:12 virtio_mmio.device=4K@0xd0000000:5:1 quiet")
	want := []slot{{0xfeb00e00, 512, 12}, {0xd0000000, 4096, 5}}
	if err != nil || len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("parseSlots = %v, %v; want %v", got, err, want)
	}
	for _, bad := range []string{"512@0xfeb00e00", "@:", "512:5", "512@0xfeb00e01:5", "16@0xfeb00e00:5", "4KK@0x1000:5", "512@0xfeb00e00:999", "9999999K@0:1", "512@0xfeb00e00:1:2:3"} {
		if s, err := parseSlots(slotWord + bad); err == nil {
			t.Errorf("parseSlots(%q) = %v, want an error", bad, s)
		}
	}
}

func FuzzParseSlots(f *testing.F) {
	f.Add("virtio_mmio.device=512@0xfeb00e00:12")
	f.Add("virtio_mmio.device=4K@0xd0000000:5:1")
	f.Fuzz(func(t *testing.T, in string) {
		slots, _ := parseSlots(in)
		for _, s := range slots {
			if s.size < mmioMinSize || s.size > slotMaxSize || s.addr%4 != 0 || s.gsi < 0 || s.gsi > 255 {
				t.Errorf("parseSlots(%q) = %+v", in, s)
			}
		}
	})
}
