package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/libp2p/go-libp2p/core/transport"
	manet "github.com/multiformats/go-multiaddr/net"
)

// maxSocketPath is how long the path of a unix socket may be: the kernel keeps
// 108 bytes, of which one ends it.
const maxSocketPath = 107

// listen opens the port and, where its path allows it, the socket. What connects
// to them is cut off when conns ends.
func (e *Endpoint) listen(conns context.Context) ([]transport.Listener, error) {
	up, err := newUpgrader(e.key, maxStreamsPerConn, writeTimeout)
	if err != nil {
		return nil, err
	}
	tie := func(c net.Conn) (untie func() bool) {
		return context.AfterFunc(conns, func() { _ = c.Close() })
	}
	var out []transport.Listener
	add := func(l net.Listener, err error) error {
		if err != nil {
			return err
		}
		wrapped, err := manet.WrapNetListener(&boundedListener{Listener: l, slots: make(chan struct{}, maxConns), tie: tie})
		if err != nil {
			return errors.Join(err, l.Close())
		}
		out = append(out, up.UpgradeGatedMaListener(nil, up.GateMaListener(wrapped)))
		return nil
	}
	// The socket is first because app.json lists it first.
	if err := add(listenUnix(filepath.Join(e.cfg.StateDir, socketFile))); err != nil {
		e.cfg.Log.Warn("no unix socket for apps; they can use 127.0.0.1", "err", err)
	}
	if err := add(net.Listen("tcp4", "127.0.0.1:0")); err != nil {
		closeAll(out)
		return nil, fmt.Errorf("listen for apps on 127.0.0.1: %w", err)
	}
	return out, nil
}

// listenUnix opens a socket that only its owner can connect to. One that an
// earlier process left behind is replaced: the state folder's lock says that
// no process uses it.
func listenUnix(path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("the path %s is %d bytes long and may have %d; a state folder with a shorter path has a socket",
			path, len(path), maxSocketPath)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

func closeAll(listeners []transport.Listener) {
	for _, l := range listeners {
		_ = l.Close()
	}
}

// A boundedListener has at most as many connections at a time as slots holds.
// One too many is closed at once, so that its app learns of it. tie has them all
// closed in the end: as they are, since yamux would first wait for a pending
// write, and libp2p for a handshake.
type boundedListener struct {
	net.Listener
	slots chan struct{}
	tie   func(net.Conn) (untie func() bool)
}

func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.slots <- struct{}{}:
			untie := l.tie(c)
			return &boundedConn{Conn: c, free: sync.OnceFunc(func() { untie(); <-l.slots })}, nil
		default:
			_ = c.Close()
		}
	}
}

// A boundedConn gives its slot back when it is closed.
type boundedConn struct {
	net.Conn
	free func()
}

func (c *boundedConn) Close() error {
	defer c.free()
	return c.Conn.Close()
}
