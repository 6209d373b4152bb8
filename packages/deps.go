package packages

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// missing returns those of the Debian packages that are not installed.
func missing(names []string) ([]string, error) {
	if len(names) == 0 {
		return nil, nil
	}
	if _, err := exec.LookPath("dpkg-query"); err != nil {
		return nil, &Error{"dpkg-query: not found in PATH", "packages are built on Debian and Ubuntu"}
	}
	// It fails if it does not know one of the names, after it has told of
	// the others.
	out, err := exec.Command("dpkg-query", append([]string{"-W", "-f", "${Package} ${db:Status-Status} ${Provides}\n"}, names...)...).Output()
	if _, ok := err.(*exec.ExitError); err != nil && !ok {
		return nil, fmt.Errorf("dpkg-query: %w", err)
	}
	installed := map[string]bool{}
	for _, line := range strings.Split(string(out), "\n") {
		if f := strings.Fields(line); len(f) >= 2 && f[1] == "installed" {
			installed[f[0]] = true
		}
	}
	var gone []string
	for _, n := range names {
		if !installed[n] {
			gone = append(gone, n)
		}
	}
	return gone, nil
}

// requireInstalled makes sure that the Debian packages are installed. If
// install is set it installs those that are not.
func (b *Builder) requireInstalled(who string, names []string, install bool) error {
	gone, err := missing(names)
	if err != nil || len(gone) == 0 {
		return err
	}
	if !install {
		return &Error{
			fmt.Sprintf("%s needs Debian packages that are not installed: %s", who, strings.Join(gone, " ")),
			"sudo apt-get install " + strings.Join(gone, " ") + ", or pass --install-deps",
		}
	}
	b.say("%s: installing %s", who, strings.Join(gone, " "))
	args := append([]string{"env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y", "--no-install-recommends", "install"}, gone...)
	if os.Geteuid() != 0 {
		args = append([]string{"sudo"}, args...)
	}
	var log bytes.Buffer
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: installing %s: %w: %s", who, strings.Join(gone, " "), err, lastLine(log.String()))
	}
	return nil
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}
