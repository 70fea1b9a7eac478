package docker

import (
	"context"
	"io/fs"
	"net"
	"net/netip"
	"os"
	goruntime "runtime"

	"golang.org/x/sys/unix"

	"github.com/hearth-edge/hearth/protocol"
)

// dialInNamespace connects to a port of the loopback in a network namespace.
func dialInNamespace(ctx context.Context, namespace, network string, port uint16) (net.Conn, error) {
	file, err := os.Open(namespace)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	type result struct {
		conn net.Conn
		err  error
	}
	dialled := make(chan result, 1)
	go func() {
		// The thread ends with this goroutine, as it stays locked: no other one
		// gets into the namespace.
		goruntime.LockOSThread()
		if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
			dialled <- result{err: fs.ErrPermission}
			return
		}
		var r result
		for _, loopback := range []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()} {
			// An address that needs no lookup is dialled by this very thread.
			dialer := net.Dialer{FallbackDelay: -1}
			conn, err := dialer.DialContext(ctx, network, netip.AddrPortFrom(loopback, port).String())
			if err == nil {
				r = result{conn: conn}
				break
			}
			if r.err == nil { // there may be no IPv6: the first one counts
				r.err = err
			}
		}
		dialled <- r
	}()
	r := <-dialled
	return r.conn, r.err
}

// signalProcess sends a signal to a process of this machine that belongs to the
// container. fs.ErrPermission says that it may not.
func signalProcess(pid int, container, signal string) error {
	number := unix.SignalNum("SIG" + signal)
	if number == 0 {
		return protocol.Errorf(protocol.CodeInvalid, "signal: %q is not known here", signal)
	}
	// What the descriptor stands for cannot become another process meanwhile.
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if !isProcessOf(pid, container) {
		return fs.ErrPermission
	}
	return unix.PidfdSendSignal(fd, number, nil, 0)
}
