package soak_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kiln/test/kilncmd"
	"kiln/test/redisclient"
)

const (
	volumeSize = 128 << 20 // bytes
	// bootTime bounds how long a guest may take to be ready, many times what
	// the slowest needs.
	bootTime = 2 * time.Minute

	redisPort = 6379
	servePort = 7000 // of src/connections.c
)

// rig is an image and a volume that outlives its machines.
type rig struct {
	t                            *testing.T
	kiln, dir, image, volume     string
	redisAddress, servingAddress string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, kiln: kilncmd.Path(t), dir: t.TempDir()}
	sources, err := filepath.Glob("src/*.c")
	if err != nil || len(sources) == 0 {
		t.Fatalf("no sources: %v", err)
	}
	program := filepath.Join(r.dir, "soak")
	r.command(append([]string{"gcc", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-s", "-pthread", "-o", program}, sources...)...)
	r.image = filepath.Join(r.dir, "soak.img")
	r.command(r.kiln, "bake", "-o", r.image, program, "--add", r.redisServer()+":/usr/bin/redis-server")
	r.volume = filepath.Join(r.dir, "volume.img")
	if err := os.WriteFile(r.volume, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(r.volume, volumeSize); err != nil {
		t.Fatal(err)
	}
	r.command("/usr/sbin/mkfs.ext4", "-q", "-F", r.volume)
	r.redisAddress, r.servingAddress = freeAddress(t), freeAddress(t)
	return r
}

// redisServer returns the server of the package redis, which kiln package has
// built. Debian's wants 20 MB of libraries, most of a default guest's memory.
func (r *rig) redisServer() string {
	r.t.Helper()
	r.command(r.kiln, "package", "build", "redis")
	cache, err := os.UserCacheDir()
	if err != nil {
		r.t.Fatal(err)
	}
	stripped := filepath.Join(r.dir, "redis-server")
	r.command("strip", "-o", stripped, filepath.Join(cache, "kiln/packages/redis/root/usr/bin/redis-server"))
	return stripped
}

// command runs a command that must succeed.
func (r *rig) command(argv ...string) {
	r.t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		r.t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
}

// checkVolume has e2fsck look for damage.
func (r *rig) checkVolume() {
	r.t.Helper()
	r.command("/usr/sbin/e2fsck", "-fn", r.volume)
}

// freeAddress returns an address of this machine that nobody has.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// guest is a running machine.
type guest struct {
	r     *rig
	cmd   *exec.Cmd
	heard chan struct{} // closed at the output's end

	mu      sync.Mutex
	text    bytes.Buffer // guarded by mu
	samples []sample     // guarded by mu until heard is closed
}

// A sample is one of the guest's figures.
type sample struct {
	at        time.Duration
	free      int64 // KB
	available int64 // KB
}

// boot starts the load in a machine of the default size.
func (r *rig) boot(long time.Duration, connections, others int) *guest {
	r.t.Helper()
	return r.start(fmt.Sprint(long.Seconds()), fmt.Sprint(connections), fmt.Sprint(others))
}

// start starts the program with arguments, the volume, and both ports.
func (r *rig) start(arguments ...string) *guest {
	r.t.Helper()
	args := []string{"run", "-b", r.volume + ",/data",
		"-p", r.redisAddress + ":" + strconv.Itoa(redisPort), "-p", r.servingAddress + ":" + strconv.Itoa(servePort), r.image, "--"}
	if *memory != 0 {
		args = append([]string{"run", "-M", strconv.Itoa(*memory)}, args[1:]...)
	}
	g := &guest{r: r, cmd: exec.Command(r.kiln, append(args, arguments...)...), heard: make(chan struct{})}
	// A group of its own, so that QEMU ends with it.
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	read, write, err := os.Pipe()
	if err != nil {
		r.t.Fatal(err)
	}
	g.cmd.Stdout, g.cmd.Stderr = write, write
	if err := g.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	write.Close()
	r.t.Cleanup(g.kill)
	go g.hear(read)
	return g
}

// kill ends the machine if it is there still.
func (g *guest) kill() { _ = syscall.Kill(-g.cmd.Process.Pid, syscall.SIGKILL) }

// hear keeps what the machine says, and shows it.
func (g *guest) hear(read io.ReadCloser) {
	defer close(g.heard)
	defer read.Close()
	for s := bufio.NewScanner(read); s.Scan(); {
		line := strings.TrimRight(s.Text(), "\r")
		g.r.t.Log(line)
		g.mu.Lock()
		fmt.Fprintln(&g.text, line)
		if s, ok := parseSample(line); ok {
			g.samples = append(g.samples, s)
		}
		g.mu.Unlock()
	}
}

func (g *guest) output() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.text.String()
}

var sampleLine = regexp.MustCompile(`^memory (\d+) free=(\d+) available=(\d+) .*done=[\d,]+$`)

func parseSample(line string) (sample, bool) {
	f := sampleLine.FindStringSubmatch(line)
	if f == nil {
		return sample{}, false
	}
	var n [3]int64
	for i := range n {
		n[i], _ = strconv.ParseInt(f[i+1], 10, 64) // the expression has digits only
	}
	return sample{time.Duration(n[0]) * time.Second, n[1], n[2]}, true
}

// wait waits until the machine has said a word at the beginning of a line.
func (g *guest) wait(word string, limit time.Duration) {
	g.r.t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(100 * time.Millisecond) {
		if strings.Contains("\n"+g.output(), "\n"+word) {
			return
		}
		select {
		case <-g.heard:
			g.r.t.Fatalf("the machine ended before it said %q: %v", word, g.cmd.Wait())
		default:
		}
		if time.Now().After(end) {
			g.r.t.Fatalf("the machine did not say %q for %v", word, limit)
		}
	}
}

// finish waits for the machine to end by itself, well. Nothing was killed.
func (g *guest) finish() {
	g.r.t.Helper()
	select {
	case <-g.heard:
	case <-time.After(bootTime):
		g.r.t.Fatalf("the machine did not end for %v", bootTime)
	}
	if err := g.cmd.Wait(); err != nil {
		g.r.t.Errorf("the machine ended with %v", err)
	}
	if strings.Contains(g.output(), "out of memory") {
		g.r.t.Error("a process was killed for want of memory")
	}
}

// redis connects to the machine's Redis, which may not be ready yet.
func (r *rig) redis(g *guest) *redisclient.Conn {
	r.t.Helper()
	for end := time.Now().Add(bootTime); ; time.Sleep(200 * time.Millisecond) {
		c, err := redisclient.Dial(r.redisAddress, 24*time.Hour)
		if err == nil {
			// QEMU accepts a connection before the guest does.
			if _, err = c.Do("PING"); err == nil {
				return c
			}
			c.Close()
		}
		if time.Now().After(end) {
			g.kill()
			r.t.Fatalf("Redis: %v", err)
		}
	}
}
