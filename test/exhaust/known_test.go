package exhaust_test

import "strings"

// known are the modes that fail, and why. A mode that no longer does is a
// failure of the test: it is to be taken off this list.
var known = knownFor(map[string]string{
	"the kernel touches a page frame that it has not reserved, and the machine ends": `
		populate read-zero read-file read-memfd read-huge readv vm-writev proc-mem cow-50 cow-70
		cow-many cow-read memfd-write memfd-fallocate memfds shared-anon shm-removed shm-kept
		page-tables-fd fork-bomb forks fork-touch exec-args exec-env tmpfs-all mounts-filled
		sendfile`,
	"what the kernel holds for a process does not count as its memory, so process 1 is killed": `
		namespaces net-namespaces tmpfs-files tmpfs-unlinked root-files root-deep pipes-empty
		pipes-full pipes-big fifos splice tee epoll pairs-stream pairs-dgram pairs-seqpacket
		in-flight tcp-full orphans udp-full socket-filters sysv-messages posix-messages timers`,
	"closed connections keep their memory": `
		tcp-idle time-wait`,
})

// knownFor turns a list of modes for each reason into the reason of each mode.
func knownFor(reasons map[string]string) map[string]string {
	all := map[string]string{}
	for why, modes := range reasons {
		for name := range strings.FieldsSeq(modes) {
			all[name] = why
		}
	}
	return all
}
