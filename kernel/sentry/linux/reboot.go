package linux

import (
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
)

// rebootCorrection: reboot(2), which gVisor does not have.
//
// Linux checks the right, then the magic numbers, then the command; halt, power off
// and restart end the machine, or outside of the first PID namespace that one's
// first process (kernel/reboot.c, reboot_pid_ns in kernel/pid_namespace.c). All
// three end a guest with the status 0: what starts it again is the host's.
// test/linux/src/initsignals.c, and e2e signals.
var rebootCorrection = correction{
	name:  "reboot",
	calls: map[uintptr]Wrapper{unix.SYS_REBOOT: instead(reboot)},
}

// reboot implements Linux syscall reboot(2).
func reboot(t *kernel.Task, _ uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
	ns := t.PIDNamespace()
	if !t.HasCapabilityIn(linux.CAP_SYS_BOOT, ns.UserNamespace()) {
		return 0, nil, linuxerr.EPERM
	}
	if args[0].Uint() != unix.LINUX_REBOOT_MAGIC1 {
		return 0, nil, linuxerr.EINVAL
	}
	switch args[1].Uint() {
	case unix.LINUX_REBOOT_MAGIC2, 0x05121996, 0x16041998, 0x20112000: // LINUX_REBOOT_MAGIC2A to C
	default:
		return 0, nil, linuxerr.EINVAL
	}
	first, end := ns == t.Kernel().RootPIDNamespace(), linux.SIGINT
	switch args[2].Uint() {
	case unix.LINUX_REBOOT_CMD_RESTART2:
		if first {
			if _, err := t.CopyInString(args[3].Pointer(), 256); err != nil {
				return 0, nil, err
			}
		}
		end = linux.SIGHUP
	case unix.LINUX_REBOOT_CMD_RESTART:
		end = linux.SIGHUP
	case unix.LINUX_REBOOT_CMD_HALT, unix.LINUX_REBOOT_CMD_POWER_OFF:
	case unix.LINUX_REBOOT_CMD_CAD_ON, unix.LINUX_REBOOT_CMD_CAD_OFF:
		if first {
			return 0, nil, nil // nobody presses the keys
		}
		return 0, nil, linuxerr.EINVAL
	default:
		return 0, nil, linuxerr.EINVAL
	}
	if first {
		t.Kernel().Kill(linux.WaitStatusExit(0))
		return 0, nil, nil
	}
	return 0, nil, endNamespace(ns, end)
}

// initTID is the number of a PID namespace's first thread in it.
const initTID = 1

// endNamespace ends the first process of a namespace by sig, whatever it does with
// that; the others end with it.
func endNamespace(ns *kernel.PIDNamespace, sig linux.Signal) error {
	init := ns.TaskWithID(initTID)
	if init == nil {
		return nil // it ends already
	}
	if _, err := init.ThreadGroup().SetSigAction(sig, &linux.SigAction{}); err != nil {
		return err
	}
	return init.SendGroupSignal(&linux.SignalInfo{Signo: int32(sig), Code: linux.SI_KERNEL})
}
