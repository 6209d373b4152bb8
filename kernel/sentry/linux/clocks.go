package linux

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
)

// clocksCorrection: clocks, and calls about them, that gVisor does not know.
//
// CLOCK_TAI is CLOCK_REALTIME on a machine that nobody has told of leap seconds
// (kernel/time/timekeeping.c). The clocks that wake a machine are there for
// timerfd_create(2) alone where nothing wakes it (alarmtimer.c). Some
// clocks have no timers and no sleep: EOPNOTSUPP (posix-timers.c). Only
// CLOCK_REALTIME can be set, by whoever may; here nobody may, as in a container
// without CAP_SYS_TIME: the clock is the monitor's. adjtimex(2) tells of a clock
// that is not synchronised (ntp.c). Times that are none are refused by
// setitimer(2) and timerfd_settime(2). test/linux/src/clocks.c.
var clocksCorrection = correction{
	name: "clocks",
	calls: map[uintptr]Wrapper{
		unix.SYS_CLOCK_GETTIME:   onClock(takenForTAI, nil),
		unix.SYS_CLOCK_GETRES:    onClock(takenForTAI, nil),
		unix.SYS_CLOCK_NANOSLEEP: onClock(takenForTAI, noSleep),
		unix.SYS_TIMER_CREATE:    onClock(takenForTAI, noTimer),
		unix.SYS_TIMERFD_CREATE:  onClock(takenForWaking, mayWake),
		unix.SYS_CLOCK_SETTIME:   instead(clockSettime),
		unix.SYS_ADJTIMEX:        instead(adjtimex),
		unix.SYS_CLOCK_ADJTIME:   instead(clockAdjtime),
		unix.SYS_SETITIMER:       validTimes(1, time.Second/time.Microsecond),
		unix.SYS_TIMERFD_SETTIME: validTimes(2, time.Second),
	},
}

// Clocks that gVisor has no names for.
const (
	clockRealtimeAlarm = unix.CLOCK_REALTIME_ALARM
	clockBoottimeAlarm = unix.CLOCK_BOOTTIME_ALARM
	clockTAI           = unix.CLOCK_TAI
)

// takenForTAI and takenForWaking are the clocks that stand in for others.
var (
	takenForTAI    = map[int32]int32{clockTAI: linux.CLOCK_REALTIME}
	takenForWaking = map[int32]int32{clockRealtimeAlarm: linux.CLOCK_REALTIME, clockBoottimeAlarm: linux.CLOCK_BOOTTIME}
)

// onClock wraps a call whose first argument is a clock, for some of which others
// are taken. refuse, if there is one, says which it refuses.
func onClock(taken map[int32]int32, refuse func(t *kernel.Task, clock int32, args arch.SyscallArguments) error) Wrapper {
	return func(next kernel.SyscallFn) kernel.SyscallFn {
		return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
			clock := args[0].Int()
			if clock <= linux.CLOCK_MONOTONIC && clock >= 0 {
				return next(t, sysno, args) // nearly all calls
			}
			if refuse != nil {
				if err := refuse(t, clock, args); err != nil {
					return 0, nil, err
				}
			}
			if known, ok := taken[clock]; ok {
				args[0].Value = uintptr(known)
			}
			return next(t, sysno, args)
		}
	}
}

// mayWake refuses timers of clocks that wake a machine to those who may not.
func mayWake(t *kernel.Task, clock int32, _ arch.SyscallArguments) error {
	if _, wakes := takenForWaking[clock]; wakes && !t.Credentials().HasRootCapability(linux.CAP_WAKE_ALARM) {
		return linuxerr.EPERM
	}
	return nil
}

func noSleep(t *kernel.Task, clock int32, args arch.SyscallArguments) error {
	switch clock {
	case linux.CLOCK_THREAD_CPUTIME_ID, linux.CLOCK_MONOTONIC_RAW, linux.CLOCK_REALTIME_COARSE, linux.CLOCK_MONOTONIC_COARSE:
		return linuxerr.EOPNOTSUPP
	case clockRealtimeAlarm, clockBoottimeAlarm:
		var ts linux.Timespec
		if _, err := ts.CopyIn(t, args[2].Pointer()); err != nil {
			return err
		}
		if !ts.Valid() {
			return linuxerr.EINVAL
		}
		return linuxerr.EOPNOTSUPP
	}
	return nil
}

func noTimer(_ *kernel.Task, clock int32, _ arch.SyscallArguments) error {
	switch clock {
	case linux.CLOCK_REALTIME_COARSE, linux.CLOCK_MONOTONIC_COARSE, clockRealtimeAlarm, clockBoottimeAlarm:
		return linuxerr.EOPNOTSUPP
	}
	return nil
}

func clockSettime(t *kernel.Task, _ uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
	clock := args[0].Int()
	if clock != linux.CLOCK_REALTIME && !isProcessClock(t, clock) {
		return 0, nil, linuxerr.EINVAL
	}
	var ts linux.Timespec
	if _, err := ts.CopyIn(t, args[1].Pointer()); err != nil {
		return 0, nil, err
	}
	if clock == linux.CLOCK_REALTIME && !ts.Valid() {
		return 0, nil, linuxerr.EINVAL
	}
	return 0, nil, linuxerr.EPERM
}

// isProcessClock reports whether a clock is of the processor time of a process or
// thread that there is (posix-cpu-timers.c): its number is in bits 3 and above,
// inverted, bits 0 and 1 say what is counted.
func isProcessClock(t *kernel.Task, clock int32) bool {
	if clock >= 0 || clock&3 == 3 {
		return false
	}
	pid := kernel.ThreadID(^(clock >> 3))
	return pid == 0 || t.PIDNamespace().TaskWithID(pid) != nil
}

// Of struct timex: its size, where fields are, and modes that only read.
const (
	timexSize      = 208
	timexOffset    = 8
	timexFrequency = 16
	timexMaxError  = 24
	timexEstError  = 32
	timexStatus    = 40
	timexConstant  = 48
	timexPrecision = 56
	timexTolerance = 64
	timexSeconds   = 72
	timexMicros    = 80
	timexTick      = 88

	adjOffsetSSRead = 0xa001

	// What Linux has where nobody sets it (NTP_PHASE_LIMIT and others in
	// linux/timex.h).
	unsynchronised  = 0x40 // STA_UNSYNC
	ntpPhaseLimit   = 16_000_000
	ntpTolerance    = 500 << 16
	ntpTick         = 10_000
	timeError       = 5 // adjtimex returns it for such a clock
	ntpTimeConstant = 2
)

func adjtimex(t *kernel.Task, _ uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
	return adjust(t, args[0].Pointer())
}

func clockAdjtime(t *kernel.Task, _ uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
	b := make([]byte, timexSize)
	if _, err := t.CopyInBytes(args[1].Pointer(), b); err != nil {
		return 0, nil, err
	}
	switch clock := args[0].Int(); {
	case clock == linux.CLOCK_REALTIME:
		return adjust(t, args[1].Pointer())
	case clock > 0 && clock <= clockTAI && clock != 10 || isProcessClock(t, clock):
		return 0, nil, linuxerr.EOPNOTSUPP
	}
	return 0, nil, linuxerr.EINVAL
}

// adjust answers for the struct timex at addr, which may ask and not change.
func adjust(t *kernel.Task, addr hostarch.Addr) (uintptr, *kernel.SyscallControl, error) {
	b := make([]byte, timexSize)
	if _, err := t.CopyInBytes(addr, b); err != nil {
		return 0, nil, err
	}
	le := binary.LittleEndian
	if modes := le.Uint32(b); modes != 0 && modes != adjOffsetSSRead {
		return 0, nil, linuxerr.EPERM
	}
	now := t.Kernel().RealtimeClock().Now()
	clear(b[4:])
	le.PutUint64(b[timexMaxError:], ntpPhaseLimit)
	le.PutUint64(b[timexEstError:], ntpPhaseLimit)
	le.PutUint32(b[timexStatus:], unsynchronised)
	le.PutUint64(b[timexConstant:], ntpTimeConstant)
	le.PutUint64(b[timexPrecision:], 1)
	le.PutUint64(b[timexTolerance:], ntpTolerance)
	le.PutUint64(b[timexSeconds:], uint64(now.Nanoseconds()/int64(time.Second)))
	le.PutUint64(b[timexMicros:], uint64(now.Nanoseconds()%int64(time.Second)/1000))
	le.PutUint64(b[timexTick:], ntpTick)
	if _, err := t.CopyOutBytes(addr, b); err != nil {
		return 0, nil, err
	}
	return timeError, nil, nil
}

// validTimes wraps a call whose argument n points to an interval and a value, each
// of seconds and of parts of which a second has so many.
func validTimes(n int, parts time.Duration) Wrapper {
	return func(next kernel.SyscallFn) kernel.SyscallFn {
		return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
			var b [4 * 8]byte
			if args[n].Pointer() == 0 {
				return next(t, sysno, args)
			}
			if _, err := t.CopyInBytes(args[n].Pointer(), b[:]); err != nil {
				return next(t, sysno, args) // which looks at the rest first
			}
			for i := 0; i < len(b); i += 16 {
				seconds, part := int64(binary.LittleEndian.Uint64(b[i:])), int64(binary.LittleEndian.Uint64(b[i+8:]))
				if seconds < 0 || part < 0 || part >= int64(parts) {
					return 0, nil, linuxerr.EINVAL
				}
			}
			return next(t, sysno, args)
		}
	}
}
