package p2p

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// retransmitSteadily has the kernel repeat what was lost at a steady pace instead of ever
// more rarely. It suits the few small packets of a mesh, and keeps the silences of
// a bad link short. Before Linux 6.15 only the first six repetitions are.
func retransmitSteadily(c net.Conn) {
	onSocket(c, func(fd int) {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_THIN_LINEAR_TIMEOUTS, 1)
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_RTO_MAX_MS, int(maxRTO.Milliseconds()))
		// Else the kernel gives up after fifteen repetitions.
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(2*maxSilenceTimeout.Milliseconds()))
	})
}

// pathOf asks the kernel about a connection; zero if it has nothing to say.
func pathOf(c net.Conn) (p pathInfo) {
	onSocket(c, func(fd int) {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return
		}
		p = pathInfo{
			sent: uint64(info.Data_segs_out), retransmitted: uint64(info.Total_retrans), spurious: uint64(info.Dsack_dups),
			rto:  time.Duration(info.Rto) * time.Microsecond,
			idle: time.Duration(info.Last_ack_recv) * time.Millisecond, retransmits: int(info.Retransmits),
		}
	})
	return p
}

func onSocket(c net.Conn, f func(fd int)) {
	if g, ok := c.(*pendingConn); ok {
		c = g.NetConn()
	}
	sc, ok := c.(syscall.Conn)
	if !ok {
		return
	}
	if raw, err := sc.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { f(int(fd)) })
	}
}

// limitSegment bounds what is sent in one packet either way, before a connection is made.
func limitSegment(c syscall.RawConn, bytes int) (err error) {
	if ctl := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, bytes) }); ctl != nil {
		return ctl
	}
	return err
}
