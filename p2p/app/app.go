// Package app is where a device and the apps on it meet: Endpoint is the
// device's side, Dial an app's.
//
// The endpoint is a second, tiny libp2p host beside the one of the mesh, because
// that one lets nobody in who lacks the mesh's secret. It speaks what every libp2p
// does: multistream, Noise, yamux, on 127.0.0.1 and on a unix socket. It serves
// protocol.AppProtocol, and identify, for clients that like to be told; it
// knows no other peers and never dials.
//
// Three files in the state folder are for apps:
//
//	app.json  {"peer_id": "12D3KooW…", "addresses": ["/unix/…", "/ip4/127.0.0.1/tcp/…/p2p/…"], "pid": 1234, "http": "127.0.0.1:7118"}
//	app.sock  the unix socket
//	token     64 hexadecimal digits, to be sent by the app on each stream
//
// A unix address is the whole rest of its multiaddr, so that one has no /p2p
// at its end. app.json is there while the device runs and is gone after a clean
// end. A fourth file, lock, belongs to the process that runs the device.
//
// # Decisions
//
// The host is the upgrader's listeners and a loop, not a swarm with a
// peerstore: it costs a few goroutines, and its limits are
// plain counters. Its key is new at each start, because app.json tells it
// anyway, and a key that is nowhere on disk can't be stolen.
//
// Reading the token is what proves an app; reaching the endpoint proves nothing,
// because every user of the machine can reach 127.0.0.1. So each listener counts its
// own connections and streams, Dial prefers the socket, which only the owner can
// open, and a connection on which the token was not shown yet has few streams
// (gate.go). Every stream shows it all the same, as long as apps do.
//
// Neither end waits for multistream: an app's first frame goes out with the names
// of the protocols, and the device's answer with their repetition. A conversation
// takes a round trip and 14 of 33 system calls less for it, at both ends together.
//
// Yamux's keep-alive is off on both sides, and the device lets its writes wait:
// the kernel tells when a local process ends, and one that was stopped with
// Ctrl-Z or in a debugger is not gone.
package app

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/sec"
	"github.com/libp2p/go-libp2p/core/transport"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/upgrader"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	yamuxcfg "github.com/libp2p/go-yamux/v5"
	mss "github.com/multiformats/go-multistream"

	"github.com/hearth-edge/hearth/protocol"
)

const (
	// maxStreamsPerConn bounds what one app runs at a time.
	maxStreamsPerConn = 1100
	// maxStreams bounds what all apps of a listener run at a time; more are reset.
	maxStreams = 4096
	// maxUnproven bounds the streams of a listener, and maxUnprovenPerConn those of a
	// connection, before its app showed the token: of a connection more wait, of a
	// listener the oldest is reset, since an honest app shows it with its first bytes.
	maxUnproven, maxUnprovenPerConn = 64, 16
	// maxConns bounds the connections to the socket and, apart, to the port.
	maxConns = 256
	// maxWindow is how many bytes a stream may hold that nobody reads yet. A
	// local connection has no latency that would call for more.
	maxWindow = 1 << 20
	// handshake bounds the time to set up a connection, and a stream.
	handshake = 5 * time.Second
	// writeTimeout is how long the device's write to a connection may block, which
	// is as long as an app may be stopped; an app waits for its device no longer
	// than haste.
	writeTimeout = 24 * time.Hour
	haste        = 10 * time.Second
	// closeTimeout is how long streams may take to end by themselves at the end of
	// Run.
	closeTimeout = time.Second
)

const (
	infoFile   = "app.json"
	socketFile = "app.sock"
	tokenFile  = "token"
	lockFile   = "lock"
)

// Config says what an Endpoint serves, and where.
type Config struct {
	// StateDir is made if it is missing. Its owner is who may use the endpoint.
	StateDir string
	// Handle serves one stream and returns when it is done with it; it closes
	// or resets the stream. It must return soon after ctx ended. The stream has
	// no deadline; nothing is known yet about who opened it. It is a
	// protocol.Guarded, to be told when its app has shown the token. A panic resets
	// the stream.
	Handle func(ctx context.Context, s protocol.Stream)
	Log    *slog.Logger
}

// An Endpoint is what the apps of this device connect to.
type Endpoint struct {
	cfg   Config
	token string
	key   crypto.PrivKey
	id    peer.ID // of key
	// known are the protocols that are served.
	known *mss.MultistreamMuxer[string]
	ready chan struct{}
	http  string // where the device answers HTTP
	// maxStreams is maxStreams, but in tests.
	maxStreams int
}

// New makes an endpoint, and the token if there is none yet. It listens only
// in Run. The caller holds the state folder's Lock.
func New(cfg Config) (*Endpoint, error) {
	var err error
	if cfg.StateDir, err = filepath.Abs(cfg.StateDir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.StateDir, 0o700); err != nil {
		return nil, err
	}
	token, err := ensureToken(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	id, err := peer.IDFromPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return &Endpoint{cfg: cfg, token: token, key: key, id: id, known: protocols(), ready: make(chan struct{}), maxStreams: maxStreams}, nil
}

// Ready is closed when apps can connect.
func (e *Endpoint) Ready() <-chan struct{} { return e.ready }

// TellHTTP has app.json say where the device answers HTTP. It must be called before
// Run.
func (e *Endpoint) TellHTTP(addr string) { e.http = addr }

// Token is what an app has to show.
func (e *Endpoint) Token() string { return e.token }

// newUpgrader puts Noise and yamux on a plain connection, at either end. Streams
// that the other end opens beyond incomingStreams are reset; a write that blocks
// for longer than writeTimeout ends the connection.
func newUpgrader(key crypto.PrivKey, incomingStreams uint32, writeTimeout time.Duration) (transport.Upgrader, error) {
	cfg := yamuxcfg.DefaultConfig()
	cfg.EnableKeepAlive = false
	cfg.MaxIncomingStreams = incomingStreams
	cfg.ConnectionWriteTimeout = writeTimeout
	cfg.MaxStreamWindowSize = maxWindow
	cfg.ReadBufSize = 0 // Noise has a buffer
	cfg.LogOutput = io.Discard
	muxers := []upgrader.StreamMuxer{{ID: yamux.ID, Muxer: (*yamux.Transport)(cfg)}}
	secure, err := noise.New(noise.ID, key, muxers)
	if err != nil {
		return nil, err
	}
	return upgrader.New([]sec.SecureTransport{secure}, muxers, nil, nil, nil, upgrader.WithAcceptTimeout(handshake))
}

// newKey is an identity for one start of an endpoint or one dial.
func newKey() (crypto.PrivKey, error) {
	key, _, err := crypto.GenerateEd25519Key(nil)
	return key, err
}
