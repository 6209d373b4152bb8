package network

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	stdnet "net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"

	"kiln/kernel/machine"
	"kiln/kernel/pci"
	"kiln/kernel/pci/mmio"
	"kiln/kernel/virtio"
	"kiln/kernel/virtio/net"
	"kiln/kernel/virtio/rng"
)

// The tests in this file drive QEMU's own devices from the host: a QEMU whose
// processor only halts lets a test make the accesses instead (qtest), and
// shares its memory. No firmware runs, so BARs are ours to assign. It is the
// nearest to hardware that a driver gets without a kernel under it.

// qemu is such a machine. It is a pci.Config and a virtio.Memory.
type qemu struct {
	ram []byte // shared with QEMU, guest physical address 0

	mu   sync.Mutex // guards the rest
	conn stdnet.Conn
	r    *bufio.Reader
	next int  // first free byte of ram
	gone bool // the test is over; goroutines of its stack may not know yet
}

const qemuRAM = 64 << 20 // bytes

// startQEMU starts a machine of a type with devices.
func startQEMU(t *testing.T, machineType string, args ...string) *qemu {
	t.Helper()
	path, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Skip("package qemu-system-x86 is not installed")
	}
	dir := t.TempDir()
	ram := filepath.Join(dir, "ram")
	f, err := os.OpenFile(ram, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(qemuRAM); err != nil {
		t.Fatal(err)
	}
	q := &qemu{next: 1 << 20}
	if q.ram, err = syscall.Mmap(int(f.Fd()), 0, qemuRAM, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED); err != nil {
		t.Fatal(err)
	}
	// Firmware for a processor that starts at its last 16 bytes: CLI, HLT,
	// and back to the HLT.
	bios := make([]byte, 64<<10)
	copy(bios[len(bios)-16:], []byte{0xfa, 0xf4, 0xeb, 0xfd})
	if err := os.WriteFile(filepath.Join(dir, "bios"), bios, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := stdnet.Listen("unix", filepath.Join(dir, "qtest"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cmd := exec.Command(path, append([]string{
		"-machine", machineType + ",memory-backend=ram", "-accel", "tcg", "-bios", filepath.Join(dir, "bios"), "-nodefaults", "-display", "none",
		"-object", fmt.Sprintf("memory-backend-file,id=ram,size=%d,mem-path=%s,share=on", qemuRAM, ram),
		"-m", fmt.Sprint(qemuRAM >> 20), "-qtest", "unix:" + l.Addr().String(), "-qtest-log", "none",
	}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() && stderr.Len() > 0 {
			t.Logf("QEMU says: %s", stderr.String())
		}
	})
	if err := l.(*stdnet.UnixListener).SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if q.conn, err = l.Accept(); err != nil {
		t.Fatalf("QEMU did not start: %v: %s", err, stderr.String())
	}
	q.r = bufio.NewReader(q.conn)
	t.Cleanup(func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.gone = true
	})
	return q
}

// do executes a command of QEMU's qtest protocol and returns its number.
func (q *qemu) do(format string, args ...any) uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.gone {
		return 0
	}
	fmt.Fprintf(q.conn, format+"\n", args...)
	line, err := q.r.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "OK") {
		panic(fmt.Sprintf("qtest: "+format, args...) + fmt.Sprintf(": %q, %v", line, err))
	}
	fields := strings.Fields(line)
	if len(fields) < 2 {
		return 0
	}
	n, err := strconv.ParseUint(fields[1], 0, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func (q *qemu) address(a pci.Address, off int) {
	q.do("outl 0xcf8 %#x", 1<<31|uint32(a.Bus)<<16|uint32(a.Device)<<11|uint32(a.Function)<<8|uint32(off))
}

func (q *qemu) Read32(a pci.Address, off int) uint32 {
	q.address(a, off)
	return uint32(q.do("inl 0xcfc"))
}

func (q *qemu) Write32(a pci.Address, off int, v uint32) {
	q.address(a, off)
	q.do("outl 0xcfc %#x", v)
}

func (q *qemu) Alloc(pages int) ([]byte, virtio.PhysAddr, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := pages * machine.PageSize
	if n > len(q.ram)-q.next {
		return nil, 0, errors.New("out of memory")
	}
	at := q.next
	q.next += n
	return q.ram[at : at+n : at+n], virtio.PhysAddr(at), nil
}

func (q *qemu) Free([]byte) error { return nil }

// registers are device registers in QEMU.
type registers struct {
	q    *qemu
	base uint64
}

var _ mmio.Registers = registers{}

func (r registers) Read8(off int) uint8   { return uint8(r.q.do("readb %#x", r.base+uint64(off))) }
func (r registers) Read16(off int) uint16 { return uint16(r.q.do("readw %#x", r.base+uint64(off))) }
func (r registers) Read32(off int) uint32 { return uint32(r.q.do("readl %#x", r.base+uint64(off))) }
func (r registers) Write8(off int, v uint8) {
	r.q.do("writeb %#x %#x", r.base+uint64(off), v)
}
func (r registers) Write16(off int, v uint16) {
	r.q.do("writew %#x %#x", r.base+uint64(off), v)
}
func (r registers) Write32(off int, v uint32) {
	r.q.do("writel %#x %#x", r.base+uint64(off), v)
}

// polled is an interrupt that looks whether it fired.
type polled struct {
	fired func() bool
	done  atomic.Bool
	count atomic.Int64
}

func (p *polled) Wait() error {
	for !p.done.Load() {
		if p.fired() {
			p.count.Add(1)
			return nil
		}
		time.Sleep(200 * time.Microsecond)
	}
	return errors.New("closed")
}
func (p *polled) Ack() error   { return nil }
func (p *polled) Close() error { p.done.Store(true); return nil }

// transports returns the machine's virtio devices on PCI. A message-signalled
// interrupt is a write to memory: here to a word that is looked at.
func (q *qemu) pciTransports(t *testing.T) map[virtio.DeviceID]virtio.Transport {
	functions := pci.Scan(q)
	if err := pci.Assign(functions); err != nil {
		t.Fatal(err)
	}
	found := map[virtio.DeviceID]virtio.Transport{}
	for _, f := range functions {
		if f.Vendor != 0x1af4 {
			continue
		}
		bars := f.BARs()
		mapBAR := func(bar, off, size int) (mmio.Registers, error) {
			for _, b := range bars {
				if b.Index == bar && uint64(off+size) <= b.Size {
					return registers{q, b.Addr + uint64(off)}, nil
				}
			}
			return nil, fmt.Errorf("%#x bytes at BAR %d + %#x of %+v", size, bar, off, bars)
		}
		page, phys, err := q.Alloc(1)
		if err != nil {
			t.Fatal(err)
		}
		word := (*uint32)(unsafe.Pointer(&page[0]))
		irq := &polled{fired: func() bool { return atomic.SwapUint32(word, 0) == 0x5a }}
		tr, err := virtio.NewPCI(f, mapBAR, irq, uint64(phys), 0x5a)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { irq.Close() })
		found[tr.DeviceID()] = tr
	}
	return found
}

// mmioTransports returns the devices in the slots of a microvm.
func (q *qemu) mmioTransports(t *testing.T) map[virtio.DeviceID]virtio.Transport {
	const base, slots, size = 0xfeb00000, 8, 512 // QEMU include/hw/i386/microvm.h
	found := map[virtio.DeviceID]virtio.Transport{}
	for i := range slots {
		regs := registers{q, base + uint64(i*size)}
		// Level-triggered: the status register says what the line does.
		irq := &polled{fired: func() bool { return regs.Read32(0x60) != 0 }}
		t.Cleanup(func() { irq.Close() })
		tr, err := virtio.NewMMIO(regs, size, irq)
		if err != nil {
			t.Fatal(err)
		}
		if tr.DeviceID() != virtio.DeviceNone {
			found[tr.DeviceID()] = tr
		}
	}
	return found
}

func TestQEMU(t *testing.T) {
	for _, m := range []struct {
		name, machine, bus string
		args               []string
		find               func(*qemu, *testing.T) map[virtio.DeviceID]virtio.Transport
	}{
		{"q35", "q35", "pci", nil, (*qemu).pciTransports},
		{"pc", "pc", "pci", nil, (*qemu).pciTransports},
		{"microvm", "microvm,acpi=off", "device", []string{"-global", "virtio-mmio.force-legacy=false"}, (*qemu).mmioTransports},
	} {
		t.Run(m.name, func(t *testing.T) {
			q := startQEMU(t, m.machine, append(m.args,
				"-netdev", "user,id=n0", "-device", "virtio-net-"+m.bus+",netdev=n0,mac=52:54:00:12:34:56",
				"-device", "virtio-rng-"+m.bus)...)
			devices := m.find(q, t)
			testEntropy(t, q, devices[virtio.DeviceRNG])
			testUserNetwork(t, q, devices[virtio.DeviceNet])
		})
	}
}

func testEntropy(t *testing.T, q *qemu, tr virtio.Transport) {
	if tr == nil {
		t.Fatal("no entropy device found")
	}
	d, err := rng.Open(tr, q)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 64)
	if _, err := io.ReadFull(d, b); err != nil {
		t.Fatal(err)
	}
	if netip.AddrFrom16([16]byte(b)) == netip.AddrFrom16([16]byte(b[16:])) {
		t.Errorf("random bytes %x", b)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// testUserNetwork configures an interface by QEMU's DHCP server and moves data
// to the host and back.
func testUserNetwork(t *testing.T, q *qemu, tr virtio.Transport) {
	if tr == nil {
		t.Fatal("no network device found")
	}
	d, err := net.Open(tr, q, net.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.ip.Close)
	if err := s.Attach(d, Interface{Name: "eth0", IPv4: Family{Mode: ModeDHCP}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.WaitConfigured(ctx); err != nil {
		t.Fatal(err)
	}
	if got, want := string(s.Resolv()), "nameserver 10.0.2.3\n"; got != want {
		t.Errorf("Resolv = %q, want %q", got, want)
	}
	host, err := stdnet.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	go echo(host)
	port := host.Addr().(*stdnet.TCPAddr).Port
	c, err := gonet.DialContextTCP(ctx, s.ip, tcpip.FullAddress{Addr: tcpip.AddrFrom4([4]byte{10, 0, 2, 2}), Port: uint16(port)}, ipv4.ProtocolNumber)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	thereAndBack(t, c, 256<<10)
}

// echo sends what the first connection to l brings back to where it came from.
func echo(l stdnet.Listener) {
	c, err := l.Accept()
	if err != nil {
		return
	}
	defer c.Close()
	io.Copy(c, c)
}

// thereAndBack sends size bytes to an echo and compares what returns.
func thereAndBack(t *testing.T, c stdnet.Conn, size int) {
	t.Helper()
	out := make([]byte, size)
	for i := range out {
		out[i] = byte(i * i >> 9)
	}
	go c.Write(out)
	in := make([]byte, size)
	if n, err := io.ReadFull(c, in); err != nil {
		t.Fatalf("%d bytes came back: %v", n, err)
	}
	if string(in) != string(out) {
		t.Error("what came back is not what was sent")
	}
}
