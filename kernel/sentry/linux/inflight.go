package linux

import (
	"sync"
	"sync/atomic"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/pkg/sentry/ktime"
	"gvisor.dev/gvisor/pkg/sentry/limits"
	"gvisor.dev/gvisor/pkg/sentry/socket"
	"gvisor.dev/gvisor/pkg/sentry/socket/control"
	"gvisor.dev/gvisor/pkg/sentry/socket/unix/transport"
	"gvisor.dev/gvisor/pkg/syserr"
	"gvisor.dev/gvisor/pkg/usermem"
)

// inflightCorrection: files that wait in unix sockets.
//
// On Linux a user without rights who has more files in messages that nobody has
// received than RLIMIT_NOFILE sends no more: ETOOMANYREFS (unix(7), SCM_RIGHTS;
// too_many_unix_fds in net/unix/scm.c). gVisor has no bound. test/linux/src/
// inflight.c.
var inflightCorrection = correction{name: "inflight"} // unixSocket.SendMsg

// inFlight is how many files each user has in messages.
var inFlight struct {
	mu    sync.Mutex
	users map[auth.KUID]*atomic.Int64 // guarded by mu
}

// filesInFlight returns a user's count.
func filesInFlight(user auth.KUID) *atomic.Int64 {
	inFlight.mu.Lock()
	defer inFlight.mu.Unlock()
	n := inFlight.users[user]
	if n == nil {
		if inFlight.users == nil {
			inFlight.users = map[auth.KUID]*atomic.Int64{}
		}
		n = new(atomic.Int64)
		inFlight.users[user] = n
	}
	return n
}

// sent are the files of a message. They are counted until they are received or
// the message is gone. It implements control.SCMRights.
type sent struct {
	control.SCMRights
	count *atomic.Int64 // of who sent them
	left  int64         // of them, that are counted still
}

// land ends the flight of n files.
func (s *sent) land(n int) {
	landed := min(int64(n), s.left)
	s.left -= landed
	s.count.Add(-landed)
}

// Files implements control.SCMRights.
func (s *sent) Files(ctx context.Context, most int) (control.RightsFiles, bool) {
	files, truncated := s.SCMRights.Files(ctx, most)
	s.land(len(files))
	return files, truncated
}

// Clone implements transport.RightsControlMessage. What is looked at with
// MSG_PEEK is the reader's.
func (s *sent) Clone() transport.RightsControlMessage { return s.SCMRights.Clone() }

// TransferRights implements transport.RightsControlMessage.
func (s *sent) TransferRights() transport.RightsControlMessage {
	moved := s.SCMRights.TransferRights()
	if rights, ok := moved.(control.SCMRights); ok {
		moved = &sent{rights, s.count, s.left}
		s.left = 0
	}
	return moved
}

// Release implements transport.RightsControlMessage.
func (s *sent) Release(ctx context.Context) {
	s.land(int(s.left))
	s.SCMRights.Release(ctx)
}

// SendMsg implements socket.Socket.
func (s *unixSocket) SendMsg(t *kernel.Task, src usermem.IOSequence, to []byte, flags int, haveDeadline bool, deadline ktime.Time, cms socket.ControlMessages) (int, *syserr.Error) {
	src = askEndpoint(src)
	files, ok := cms.Unix.Rights.(*control.RightsFiles)
	if !ok || len(*files) == 0 {
		return s.Socket.SendMsg(t, src, to, flags, haveDeadline, deadline, cms)
	}
	count := filesInFlight(t.Credentials().RealKUID)
	if most := t.ThreadGroup().Limits().Get(limits.NumberOfFiles).Cur; uint64(count.Load()) > most &&
		!t.HasRootCapability(linux.CAP_SYS_RESOURCE) && !t.HasRootCapability(linux.CAP_SYS_ADMIN) {
		return 0, syserr.FromError(linuxerr.ETOOMANYREFS)
	}
	message := &sent{files, count, int64(len(*files))}
	count.Add(message.left)
	cms.Unix.Rights = message
	n, err := s.Socket.SendMsg(t, src, to, flags, haveDeadline, deadline, cms)
	if n == 0 {
		message.land(int(message.left)) // the caller gives the files back
	}
	return n, err
}
