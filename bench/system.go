package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// A program is what both systems run, in the same three ways.
type program string

const (
	hello    program = "hello"    // prints "hello, kiln" and ends
	syscalls program = "syscalls" // prints a line for each system call
	redis    program = "redis"    // serves at guestAddr until it is stopped
	storage  program = "storage"  // prints a line for each thing done to a disk
	// redisAppend is redis with an append-only file on a disk.
	redisAppend program = "redis-append"
)

// networked reports whether p needs the network, disked whether a disk.
func (p program) networked() bool { return p == redis || p == redisAppend }
func (p program) disked() bool    { return p == storage || p == redisAppend }

// redisArgs make Redis a server in memory that answers to the tap.
var redisArgs = []string{"--save", "", "--appendonly", "no", "--protected-mode", "no", "--bind", "0.0.0.0"}

// A system is one of the two that are compared.
type system interface {
	// command starts a guest that runs p with mb of memory; its console is
	// the command's output. p == redis needs the network.
	command(ctx context.Context, p program, mb int) *exec.Cmd
	// folder is where the system's disk image is.
	folder() string
	// size is how many bytes the guest for p is made of.
	size(p program) (int64, error)
}

// accelerators names what both systems run on: QEMU's and Kiln's word for it.
type accelerator struct{ qemu, kiln string }

// kilnSystem bakes programs and runs them by the kiln command.
type kilnSystem struct {
	kiln  string // the command
	dir   string // where images are
	accel accelerator
	net   *network
}

func (k kilnSystem) image(p program) string { return filepath.Join(k.dir, string(p)+".img") }

// prepare bakes an image of each program.
func (k kilnSystem) prepare(ctx context.Context, programs map[program]string) error {
	for p, path := range programs {
		args := []string{"bake", "-o", k.image(p), path, "--"}
		switch p {
		case redis:
			args = append(args, redisArgs...)
		case redisAppend:
			args = append(args, redisAppendArgs...)
		case storage:
			args = append(args, diskMount)
		}
		if out, err := exec.CommandContext(ctx, k.kiln, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("kiln bake %s: %w\n%s", path, err, out)
		}
	}
	return nil
}

func (k kilnSystem) command(ctx context.Context, p program, mb int) *exec.Cmd {
	argv := []string{k.kiln, "run", k.accel.kiln, "-M", strconv.Itoa(mb)}
	if p.disked() {
		argv = append(argv, "-b", diskImage(k.dir)+","+diskMount)
	}
	if !p.networked() {
		return exec.CommandContext(ctx, argv[0], append(argv[1:], k.image(p))...)
	}
	argv = append(argv,
		"-I", "if,vioif,-net tap,script=no,ifname="+k.net.tap,
		"-W", "if,inet,static,"+guestAddr+"/24", k.image(p))
	return k.net.command(ctx, argv...)
}

func (k kilnSystem) folder() string  { return k.dir }
func (l linuxSystem) folder() string { return l.dir }

func (k kilnSystem) size(p program) (int64, error) { return fileSize(k.image(p)) }

// linuxSystem boots Debian's kernel with an initramfs that holds one program.
type linuxSystem struct {
	kernel linuxKernel
	dir    string // where the archives are
	accel  accelerator
	net    *network
}

// redisInit is process 1 of the Redis guest.
const redisInit = `#!/bin/busybox sh
bb=/bin/busybox
$bb mount -t proc proc /proc
$bb mount -t devtmpfs dev /dev
for m in /modules/*.ko; do $bb insmod $m || echo "insmod $m failed"; done
$bb ip link set lo up
$bb ip addr add ` + guestAddr + `/24 dev eth0
$bb ip link set eth0 up
exec /usr/bin/redis-server --save '' --appendonly no --protected-mode no --bind 0.0.0.0
`

// prepare makes an initramfs for each program.
func (l linuxSystem) prepare(ctx context.Context, programs map[program]string) error {
	for p, path := range programs {
		fs := initramfs{files: map[string]string{}, text: map[string]string{}}
		guest := "/" + string(p)
		switch p {
		case redis:
			guest = "/usr/bin/redis-server"
			fs.text["init"] = redisInit
		case redisAppend:
			guest = "/usr/bin/redis-server"
			fs.text["init"] = diskInit(true, guest+" "+strings.ReplaceAll(strings.Join(redisAppendArgs, " "), "--save ", "--save ''"))
		case storage:
			fs.text["init"] = diskInit(false, guest+" "+diskMount)
		}
		if p.networked() || p.disked() {
			fs.files["/bin/busybox"] = "/usr/bin/busybox"
			for i, m := range append(netModules[:len(netModules):len(netModules)], diskModules...) {
				fs.files[fmt.Sprintf("/modules/%02d-%s", i, filepath.Base(m))] = filepath.Join(l.kernel.modules, m)
			}
		}
		if err := fs.addProgram(ctx, guest, path); err != nil {
			return err
		}
		if err := fs.write(ctx, l.initramfs(p)); err != nil {
			return err
		}
	}
	return nil
}

func (l linuxSystem) initramfs(p program) string { return filepath.Join(l.dir, string(p)+".cpio.gz") }

// command starts the guest on its fastest machine type: microvm, entered
// through PVH with the kernel unpacked (tried against pc and q35, and against
// the bzImage, by -machines). Debian's kernel finds no virtio-mmio device
// without ACPI, so the network needs a PCI machine.
func (l linuxSystem) command(ctx context.Context, p program, mb int) *exec.Cmd {
	if !p.networked() && !p.disked() {
		return exec.CommandContext(ctx, "qemu-system-x86_64", l.flags("microvm,acpi=off", l.kernel.vmlinux, p, mb)...)
	}
	argv := append([]string{"qemu-system-x86_64"}, l.flags("q35", l.kernel.vmlinux, p, mb)...)
	if p.disked() {
		argv = append(argv, diskFlags(l.dir)...)
	}
	if !p.networked() {
		return exec.CommandContext(ctx, argv[0], argv[1:]...)
	}
	argv = append(argv, "-netdev", "tap,id=n0,script=no,downscript=no,ifname="+l.net.tap, "-device", "virtio-net-pci,netdev=n0")
	return l.net.command(ctx, argv...)
}

// flags are QEMU's, the same as kiln run's where that matters: CPU model,
// memory, one CPU.
func (l linuxSystem) flags(machine, kernel string, p program, mb int) []string {
	init := "/" + string(p)
	if p.networked() || p.disked() {
		init = "/init"
	}
	return []string{
		"-M", machine, "-accel", l.accel.qemu, "-cpu", "max", "-smp", "1", "-m", strconv.Itoa(mb),
		"-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot",
		"-kernel", kernel, "-initrd", l.initramfs(p),
		// A panic, which the end of init is, ends QEMU at once.
		"-append", "console=ttyS0 quiet panic=-1 reboot=t rdinit=" + init,
	}
}

func (l linuxSystem) size(p program) (int64, error) {
	kernel, err := fileSize(l.kernel.bzImage)
	if err != nil {
		return 0, err
	}
	fs, err := fileSize(l.initramfs(p))
	return kernel + fs, err
}

func fileSize(name string) (int64, error) {
	st, err := os.Stat(name)
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}
