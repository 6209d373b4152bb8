package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"

	"kiln/test/linuxguest"
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
	// nginx serves site at guestAddr until it is stopped.
	nginx program = "nginx"
)

// networked reports whether p needs the network, disked whether a disk.
func (p program) networked() bool { return p == redis || p == redisAppend || p == nginx }
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
		case nginx:
			args = append(args, nginxArgs...)
			for guest, host := range siteFiles(k.dir) {
				args = slices.Insert(args, 1, "--add", host+":"+guest)
			}
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
	kernel linuxguest.Kernel
	dir    string // where the archives are
	accel  accelerator
	net    *network
}

// prepare makes an initramfs for each program.
func (l linuxSystem) prepare(ctx context.Context, programs map[program]string) error {
	for p, path := range programs {
		var fs linuxguest.Initramfs
		if p.networked() || p.disked() {
			fs.AddInit(l.kernel, linuxInit(p))
		}
		fs.AddProgram(ctx, linuxPath(p), path)
		if p == nginx {
			for guest, host := range siteFiles(l.dir) {
				fs.AddFile(guest, host)
			}
		}
		if err := fs.Write(ctx, l.initramfs(p)); err != nil {
			return err
		}
	}
	return nil
}

// linuxPath returns where p is in its initramfs.
func linuxPath(p program) string {
	switch {
	case p == nginx:
		return "/usr/sbin/nginx"
	case p.networked():
		return "/usr/bin/redis-server"
	}
	return "/" + string(p)
}

// linuxInit returns what process 1 does before it becomes p.
func linuxInit(p program) string {
	var script string
	if p.networked() {
		script += "$bb ip link set lo up\n$bb ip addr add " + guestAddr + "/24 dev eth0\n$bb ip link set eth0 up\n"
	}
	if p.disked() {
		script += "$bb mkdir -p " + diskMount + "\n$bb mount -t ext4 /dev/vda " + diskMount + " || echo mount failed\n"
	}
	script += "exec " + linuxPath(p)
	for _, arg := range map[program][]string{redis: redisArgs, redisAppend: redisAppendArgs, storage: {diskMount}, nginx: nginxArgs}[p] {
		script += " '" + arg + "'"
	}
	return script + "\n"
}

func (l linuxSystem) initramfs(p program) string { return filepath.Join(l.dir, string(p)+".cpio.gz") }

// command starts the guest on its fastest machine type: microvm, entered
// through PVH with the kernel unpacked (tried against pc and q35, and against
// the bzImage, by -machines). Debian's kernel finds no virtio-mmio device
// without ACPI, so the network needs a PCI machine.
func (l linuxSystem) command(ctx context.Context, p program, mb int) *exec.Cmd {
	if !p.networked() && !p.disked() {
		return exec.CommandContext(ctx, "qemu-system-x86_64", l.flags("microvm,acpi=off", l.kernel.Vmlinux, p, mb)...)
	}
	argv := append([]string{"qemu-system-x86_64"}, l.flags("q35", l.kernel.Vmlinux, p, mb)...)
	if !p.networked() {
		return exec.CommandContext(ctx, argv[0], argv[1:]...)
	}
	argv = append(argv, "-netdev", "tap,id=n0,script=no,downscript=no,ifname="+l.net.tap, "-device", "virtio-net-pci,netdev=n0")
	return l.net.command(ctx, argv...)
}

// flags are QEMU's, the same as kiln run's where that matters: CPU model,
// memory, one CPU, the disk.
func (l linuxSystem) flags(machine, kernel string, p program, mb int) []string {
	m := linuxguest.Machine{Type: machine, Accel: l.accel.qemu, Kernel: kernel, Initramfs: l.initramfs(p), Init: linuxPath(p), Memory: mb}
	if p.networked() || p.disked() {
		m.Init = "/init"
	}
	if p.disked() {
		m.Disks = []string{diskImage(l.dir)}
	}
	return m.Flags()
}

func (l linuxSystem) size(p program) (int64, error) {
	kernel, err := fileSize(l.kernel.BzImage)
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
