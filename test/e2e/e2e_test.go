// Package e2e_test drives the kiln command on a real QEMU, by the scripts in
// testdata (github.com/rogpeppe/go-internal/testscript has their language).
// Beside testscript's own commands there are:
//
//	kiln ARGS…     run kiln under a time limit; like exec, ! expects failure
//	status N       the exit status of the last kiln command was N
//
// and the variables $SRC (test/programs/src), $EXAMPLES, $KILN, $KILNDIR,
// $PACKAGES (rumprun-packages), $UID (of who runs the test), $FSX (how many
// operations fsx does) and $ROUNDS (how often instances are killed).
package e2e_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"kiln/test/kilncmd"
)

// limit is how long one kiln command may take: many times what the slowest
// needs on TCG with the machine busy.
const limit = 6 * time.Minute

var (
	update = flag.Bool("update", false, "update the scripts' expected output")
	accel  = flag.String("accel", "auto", "kvm, qemu or auto: what guests run on")
)

func TestScripts(t *testing.T) {
	kiln := kilncmd.Path(t)
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Condition:           condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"kiln":   runKiln,
			"status": checkStatus,
		},
		Setup: func(env *testscript.Env) error {
			env.Setenv("KILN", kiln)
			env.Setenv("KILNDIR", filepath.Dir(kiln))
			env.Setenv("KILN_ACCEL", *accel)
			env.Setenv("SRC", filepath.Join(root, "test/programs/src"))
			env.Setenv("PACKAGES", filepath.Join(root, "rumprun-packages"))
			env.Setenv("XDG_CACHE_HOME", cacheHome())
			env.Setenv("UID", strconv.Itoa(os.Getuid()))
			env.Setenv("EXAMPLES", filepath.Join(root, "examples"))
			env.Setenv("FSX", fsxOperations())
			env.Setenv("ROUNDS", killRounds())
			// Each script has instances of its own.
			env.Setenv("XDG_STATE_HOME", filepath.Join(env.WorkDir, ".state"))
			env.Setenv("XDG_RUNTIME_DIR", filepath.Join(env.WorkDir, ".run"))
			if err := os.Mkdir(filepath.Join(env.WorkDir, ".run"), 0o700); err != nil {
				return err
			}
			env.Values[statusKey{}] = new(int)
			return nil
		},
	})
}

// cacheHome is where packages that were built stay: what one test has built,
// the others need not. A user without a home builds anew.
func cacheHome() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return dir
}

// condition knows "tap": this test may make network namespaces and taps;
// "mount": it may mount file systems; and "host:PATTERN": this machine has a
// file whose path matches.
func condition(name string) (bool, error) {
	if pattern, ok := strings.CutPrefix(name, "host:"); ok {
		files, err := filepath.Glob(pattern)
		return len(files) > 0, err
	}
	switch name {
	case "mount":
		return os.Getuid() == 0 && exec.Command("unshare", "-m", "mount", "-t", "tmpfs", "none", os.TempDir()).Run() == nil, nil
	case "tap":
	default:
		return false, fmt.Errorf("unknown condition %q", name)
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		return false, nil
	}
	_, err := exec.LookPath("ip")
	return err == nil && os.Getuid() == 0, nil
}

// fsxOperations is how many random operations fsx does.
func fsxOperations() string {
	if os.Getenv("KILN_LONG") != "" {
		return "100000"
	}
	return "3000"
}

// killRounds is how often each way to kill instances is tried: eight instances a
// round.
func killRounds() string {
	if os.Getenv("KILN_LONG") != "" {
		return "13"
	}
	return "1"
}

// statusKey finds the last kiln command's exit status in a script's values.
type statusKey struct{}

// runKiln runs kiln with the rest of the line. "kiln run" gets the machine
// that the -accel flag asks for.
func runKiln(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) > 0 && args[0] == "run" && ts.Getenv("KILN_ACCEL") != "auto" {
		args = append([]string{"run", ts.Getenv("KILN_ACCEL")}, args[1:]...)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, ts.Getenv("KILN"), args...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = environment(ts)
	cmd.Stdout, cmd.Stderr = ts.Stdout(), ts.Stderr()
	// A group of its own, so that the time limit ends QEMU too.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		ts.Fatalf("kiln %v: still running after %v", args, limit)
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Fatalf("kiln %v: %v", args, err)
	}
	*ts.Value(statusKey{}).(*int) = cmd.ProcessState.ExitCode()
	if success := err == nil; success == neg {
		ts.Fatalf("kiln %v: ended with %v", args, cmd.ProcessState)
	}
}

// environment is the script's own, with what tools need.
func environment(ts *testscript.TestScript) []string {
	env := os.Environ()
	for _, name := range []string{"SOURCE_DATE_EPOCH", "HOME", "PATH", "TMPDIR", "WORK", "XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"} {
		env = append(env, fmt.Sprintf("%s=%s", name, ts.Getenv(name)))
	}
	return env
}

func checkStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: status N")
	}
	want, err := strconv.Atoi(args[0])
	if err != nil {
		ts.Fatalf("status %s: %v", args[0], err)
	}
	if got := *ts.Value(statusKey{}).(*int); got != want {
		ts.Fatalf("status = %d, want %d", got, want)
	}
}
