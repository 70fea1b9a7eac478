package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/core/transport"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/hearth-edge/hearth/protocol"
)

// ErrNotRunning means that no device runs on a state folder.
var ErrNotRunning = errors.New("hearth is not running")

func notRunning(dir string) error {
	return fmt.Errorf("%w on the state folder %s; start it with 'hearth up', or name the folder of the one that runs with --state", ErrNotRunning, dir)
}

// A Conn is an app's connection to the device it runs on. Its methods may be
// called at any time, by any goroutine.
type Conn struct {
	conn  transport.CapableConn
	token string
}

// Dial connects to the device that runs on a state folder: through the socket
// where there is one, else through the port. It returns an ErrNotRunning where
// none runs. ctx bounds the dialling only. No libp2p host is made, so that a
// command is quick to start.
func Dial(ctx context.Context, stateDir string) (*Conn, error) {
	in, err := readInfo(stateDir)
	if err != nil {
		return nil, err
	}
	token, err := readToken(stateDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("there is no token in the state folder %s, since somebody removed it; restart hearth, which makes a new one", stateDir)
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, handshake)
	defer cancel()
	var errs []error
	for _, text := range in.Addresses {
		c, err := dialAddr(ctx, text, in.PeerID)
		if err == nil {
			return &Conn{conn: c, token: token}, nil
		}
		if !stale(err) {
			errs = append(errs, fmt.Errorf("connect to hearth at %s: %w", text, denied(stateDir, err)))
		}
	}
	if len(errs) == 0 {
		return nil, notRunning(stateDir)
	}
	return nil, errors.Join(errs...)
}

// HTTP returns host:port where the device that runs on a state folder answers HTTP;
// "" where it does on no port. It returns an ErrNotRunning where none runs.
func HTTP(stateDir string) (string, error) {
	in, err := readInfo(stateDir)
	if err != nil {
		return "", err
	}
	ended, err := Ended(stateDir)
	if ended {
		return "", notRunning(stateDir)
	}
	return in.HTTP, err
}

// stale reports whether a failure to connect means that app.json is of a
// process that ended without removing it: nobody is there, or somebody else.
func stale(err error) bool {
	_, other := errors.AsType[sec.ErrPeerIDMismatch](err)
	return other || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, os.ErrNotExist)
}

// dialAddr connects to one address of app.json.
func dialAddr(ctx context.Context, text string, id peer.ID) (transport.CapableConn, error) {
	addr, err := ma.NewMultiaddr(text)
	if err != nil {
		return nil, err
	}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	up, err := newUpgrader(key, 0, haste)
	if err != nil {
		return nil, err
	}
	var dialer manet.Dialer
	if a, named := peer.SplitAddr(addr); named != "" {
		addr = a
	}
	raw, err := dialer.DialContext(ctx, addr)
	if err != nil {
		return nil, err
	}
	return up.Upgrade(ctx, nil, raw, network.DirOutbound, id, &network.NullScope{})
}

// Open opens a stream for one conversation. ctx bounds the opening only. It does
// not wait for the device: one that does not take the stream says so by resetting
// it.
func (c *Conn) Open(ctx context.Context) (protocol.Stream, error) {
	s, err := c.conn.OpenStream(ctx)
	if err != nil {
		return nil, fmt.Errorf("open a stream to hearth: %w", err)
	}
	return newAppStream(s), nil
}

// Token is what the device wants to see on each stream.
func (c *Conn) Token() string { return c.token }

// Close ends the connection and all its streams.
func (c *Conn) Close() error { return c.conn.Close() }
