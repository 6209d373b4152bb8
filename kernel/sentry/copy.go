package sentry

import (
	"bufio"
	"errors"

	"kiln/image/channel"
	"kiln/kernel/sentry/archive"
	"kiln/kernel/uplink"
)

// tree is the guest's files, as process 1 has them mounted. What is left out of a
// copy, the session is told.
func (s *Sentry) tree(session *uplink.Session) *archive.Tree {
	return &archive.Tree{
		Ctx: s.mounts.ctx, VFS: s.mounts.vfs, Creds: s.mounts.creds, Root: s.mounts.root,
		Room: s.memory.FileRoom,
		Say: func(format string, args ...any) {
			// A session that is lost fails to write, too.
			_ = session.Notice(format, args...)
		},
	}
}

// statPath tells a session what is at a path.
func (s *Sentry) statPath(session *uplink.Session, p string) error {
	state, err := s.tree(session).Stat(p)
	if err != nil {
		return err
	}
	b, err := state.JSON()
	if err != nil {
		return err
	}
	_, err = session.Stdout.Write(b)
	return lostIsFine(err)
}

// readFiles sends a session an archive.
func (s *Sentry) readFiles(session *uplink.Session, r channel.Read) error {
	out := bufio.NewWriterSize(session.Stdout, outSize)
	err := s.tree(session).Read(r.Path, r.Name, r.Follow, out)
	if err == nil {
		err = out.Flush()
	}
	return lostIsFine(err)
}

// writeFiles unpacks a session's archive.
func (s *Sentry) writeFiles(session *uplink.Session, w channel.Write) error {
	return s.tree(session).Write(w.Path, w.Owners, session.Stdin)
}

// lostIsFine is err, but for that whom a session is for has gone.
func lostIsFine(err error) error {
	if errors.Is(err, uplink.ErrLost) {
		return nil
	}
	return err
}
