package network

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
)

// Setting is a value of a stack that programs see below /proc/sys/net, as
// Documentation/networking/ip-sysctl.rst and admin-guide/sysctl/net.rst of Linux
// 6.1 describe it.
type Setting struct {
	Name string // below /proc/sys/net
	Get  func() string
	// Set takes what was written. Its error is an errno. nil: nobody may write.
	Set func(text string) error
}

// pageBytes is the unit of tcp_mem and udp_mem.
const pageBytes = 4096

// Settings are those that say the truth about the stack and that gVisor has not,
// or as numbers of another stack's.
func (s *Stack) Settings() []Setting {
	k := s.sockets
	all := []Setting{
		k.span("ipv4/tcp_mem", &k.limits.tcp),
		k.span("ipv4/udp_mem", &k.limits.udp),
		k.number("ipv4/tcp_max_orphans", &k.limits.orphans),
		k.number("ipv4/tcp_max_syn_backlog", &k.limits.halfOpen),
		numbers("ipv4/tcp_max_tw_buckets",
			func() []int { return []int{s.closing.most()} },
			func(n []int) error { s.closing.setMost(n[0]); return nil }),
		numbers("ipv4/tcp_fin_timeout", s.finTimeout, s.setFinTimeout),
		numbers("ipv4/tcp_syn_retries", s.synRetries, s.setSynRetries),
		numbers("ipv4/tcp_retries2", s.retries, s.setRetries),
		fixed("ipv4/tcp_keepalive_intvl", int(tcp.DefaultKeepaliveInterval/time.Second)),
		fixed("ipv4/tcp_keepalive_probes", tcp.DefaultKeepaliveCount),
		fixed("ipv4/tcp_syncookies", 1),
		{"ipv4/tcp_congestion_control", s.congestionControl, s.setCongestionControl},
		{"ipv4/tcp_available_congestion_control", s.congestionControls, nil},
		{"ipv4/tcp_allowed_congestion_control", s.congestionControls, nil},
	}
	return append(all, s.bufferSettings()...)
}

// numbers is a setting of one or more integers from 0 on. set is nil if nobody
// may write.
func numbers(name string, get func() []int, set func([]int) error) Setting {
	r := Setting{Name: name, Get: func() string {
		var b strings.Builder
		for i, n := range get() {
			if i > 0 {
				b.WriteByte('\t')
			}
			b.WriteString(strconv.Itoa(n))
		}
		return b.String()
	}}
	if set != nil {
		r.Set = func(text string) error {
			// As on Linux, fewer numbers set the first.
			all := get()
			for i, f := range strings.Fields(text) {
				n, err := strconv.ParseInt(f, 0, 64)
				if err != nil || n < 0 || n > math.MaxInt32 {
					return linuxerr.EINVAL
				}
				if i < len(all) {
					all[i] = int(n)
				}
			}
			return set(all)
		}
	}
	return r
}

// fixed is a number that nobody changes.
func fixed(name string, n int) Setting {
	return numbers(name, func() []int { return []int{n} }, nil)
}

// exclusively runs f while there is no review.
func (s *sockets) exclusively(f func()) {
	for !s.reviewing.CompareAndSwap(false, true) {
		time.Sleep(time.Millisecond)
	}
	defer s.reviewing.Store(false)
	f()
}

// number is a setting of a limit.
func (s *sockets) number(name string, limit *int) Setting {
	get := func() (n []int) {
		s.exclusively(func() { n = []int{*limit} })
		return n
	}
	return numbers(name, get, func(n []int) error {
		s.exclusively(func() { *limit = n[0]; s.review() })
		return nil
	})
}

// span is a setting of a limit of memory, in pages.
func (s *sockets) span(name string, limit *span) Setting {
	get := func() (n []int) {
		s.exclusively(func() {
			n = []int{limit.low / pageBytes, limit.pressure / pageBytes, limit.most / pageBytes}
		})
		return n
	}
	return numbers(name, get, func(n []int) error {
		s.exclusively(func() {
			*limit = span{low: n[0] * pageBytes, pressure: n[1] * pageBytes, most: n[2] * pageBytes}
			s.review()
		})
		return nil
	})
}

// finTimeout returns how long a connection that the program closed waits for its
// peer's end, in s.
func (s *Stack) finTimeout() []int {
	var d tcpip.TCPLingerTimeoutOption
	// TCP has this option.
	_ = s.ip.TransportProtocolOption(tcp.ProtocolNumber, &d)
	return []int{int(time.Duration(d) / time.Second)}
}

func (s *Stack) setFinTimeout(n []int) error {
	d := tcpip.TCPLingerTimeoutOption(finWait2After(time.Duration(n[0]) * time.Second))
	return errno(s.ip.SetTransportProtocolOption(tcp.ProtocolNumber, &d))
}

// synRetries returns how often a SYN is repeated.
func (s *Stack) synRetries() []int {
	var n tcpip.TCPSynRetriesOption
	_ = s.ip.TransportProtocolOption(tcp.ProtocolNumber, &n)
	return []int{int(n)}
}

func (s *Stack) setSynRetries(n []int) error {
	v := tcpip.TCPSynRetriesOption(n[0])
	if n[0] < 1 || n[0] > maxSynRetries {
		return linuxerr.EINVAL
	}
	return errno(s.ip.SetTransportProtocolOption(tcp.ProtocolNumber, &v))
}

// maxSynRetries is MAX_TCP_SYNCNT in include/net/tcp.h.
const maxSynRetries = 127

// retries returns how often other segments are.
func (s *Stack) retries() []int {
	var n tcpip.TCPMaxRetriesOption
	_ = s.ip.TransportProtocolOption(tcp.ProtocolNumber, &n)
	return []int{int(n)}
}

func (s *Stack) setRetries(n []int) error {
	v := tcpip.TCPMaxRetriesOption(n[0])
	if n[0] > math.MaxUint8 {
		return linuxerr.EINVAL
	}
	return errno(s.ip.SetTransportProtocolOption(tcp.ProtocolNumber, &v))
}

func (s *Stack) congestionControl() string {
	var c tcpip.CongestionControlOption
	_ = s.ip.TransportProtocolOption(tcp.ProtocolNumber, &c)
	return string(c)
}

func (s *Stack) setCongestionControl(text string) error {
	c := tcpip.CongestionControlOption(strings.TrimSpace(text))
	if !slices.Contains(strings.Fields(s.congestionControls()), string(c)) {
		return linuxerr.ENOENT
	}
	return errno(s.ip.SetTransportProtocolOption(tcp.ProtocolNumber, &c))
}

func (s *Stack) congestionControls() string {
	var c tcpip.TCPAvailableCongestionControlOption
	_ = s.ip.TransportProtocolOption(tcp.ProtocolNumber, &c)
	return string(c)
}

// bufferSettings are the sizes of the buffers of sockets other than TCP's: what
// they begin with, and how far a program may set them, in bytes.
func (s *Stack) bufferSettings() []Setting {
	// setting is one of the figures that an option has. of returns its place.
	setting := func(name string, of func(*bufferSizes) *int) Setting {
		return numbers("core/"+name, func() []int {
			b := s.bufferSizes()
			return []int{*of(&b)}
		}, func(n []int) error {
			b := s.bufferSizes()
			*of(&b) = n[0]
			if strings.HasSuffix(name, "_max") {
				// Linux lets the default be more, netstack does not.
				b.send.Default, b.receive.Default = min(b.send.Default, b.send.Max), min(b.receive.Default, b.receive.Max)
			}
			return s.setBufferSizes(b)
		})
	}
	return []Setting{
		setting("wmem_default", func(b *bufferSizes) *int { return &b.send.Default }),
		setting("wmem_max", func(b *bufferSizes) *int { return &b.send.Max }),
		setting("rmem_default", func(b *bufferSizes) *int { return &b.receive.Default }),
		setting("rmem_max", func(b *bufferSizes) *int { return &b.receive.Max }),
	}
}

// bufferSizes are what a stack has for sockets other than TCP's.
type bufferSizes struct {
	send    tcpip.SendBufferSizeOption
	receive tcpip.ReceiveBufferSizeOption
}

func (s *Stack) bufferSizes() (b bufferSizes) {
	// The stack has these options.
	_, _ = s.ip.Option(&b.send), s.ip.Option(&b.receive)
	return b
}

func (s *Stack) setBufferSizes(b bufferSizes) error {
	if err := errno(s.ip.SetOption(b.send)); err != nil {
		return err
	}
	return errno(s.ip.SetOption(b.receive))
}

// errno converts an error of an option: the value was wrong.
func errno(err tcpip.Error) error {
	if err != nil {
		return linuxerr.EINVAL
	}
	return nil
}
