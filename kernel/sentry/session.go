package sentry

import (
	"errors"
	"fmt"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"

	"kiln/image/channel"
	"kiln/kernel/notice"
	"kiln/kernel/uplink"
)

// A refusal is why a session's work was not begun, with its exit status.
type refusal struct {
	status int
	err    error
}

func (r *refusal) Error() string { return r.err.Error() }

func (r *refusal) Unwrap() error { return r.err }

// cannotRun says why a program cannot be started, with the status that a shell
// has for it.
func cannotRun(err error) error {
	status := channel.ExitNoPermit
	if errors.Is(err, linuxerr.ENOENT) || errors.Is(err, linuxerr.ENOTDIR) {
		status = channel.ExitNotFound
	}
	return &refusal{status, err}
}

// serveSessions does what the host wants done in the guest until it wants no
// more.
func (s *Sentry) serveSessions(sessions <-chan *uplink.Session) {
	for session := range sessions {
		go s.serveSession(session)
	}
}

// serveSession does what a session is for, and ends it.
func (s *Sentry) serveSession(session *uplink.Session) {
	status, err := s.carryOutSession(session)
	if err != nil {
		status = channel.ExitFailed
		if r, ok := errors.AsType[*refusal](err); ok {
			status = r.status
		}
		err = session.Notice("%v", err)
	}
	if err := errors.Join(err, session.End(status)); err != nil {
		notice.Printf("session of the host: %v", err)
	}
}

// carryOutSession does what a session is for. It returns the session's exit
// status. Nobody uses its streams any more.
func (s *Sentry) carryOutSession(session *uplink.Session) (int, error) {
	o, err := session.Opening()
	if err != nil {
		return 0, err
	}
	switch {
	case o.Stat != "":
		return 0, s.statPath(session, o.Stat)
	case o.Read != nil:
		return 0, s.readFiles(session, *o.Read)
	case o.Write != nil:
		return 0, s.writeFiles(session, *o.Write)
	case o.Show != "":
		return 0, s.show(session, o.Show)
	}
	return s.exec(session, *o.Exec)
}

// signalOf returns the signal that a request names.
func signalOf(r channel.Request) (linux.Signal, error) {
	sig := signalNumber(r.Signal)
	if sig == 0 {
		return 0, fmt.Errorf("unknown signal %q", r.Signal)
	}
	return sig, nil
}
