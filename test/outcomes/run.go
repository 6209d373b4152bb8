package outcomes

import (
	"errors"
	"fmt"
	"os/exec"
	"time"
)

// Output runs cmd and returns what it prints. A non-zero status is no error:
// failed tests show in the output, and a run that broke off shows as missing tests.
func Output(cmd *exec.Cmd) ([]byte, error) {
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return out, fmt.Errorf("running %s: %w", cmd.Path, err)
	}
	return out, nil
}
