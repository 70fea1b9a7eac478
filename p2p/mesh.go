package p2p

import (
	"context"
	"errors"
	"log/slog"

	"github.com/libp2p/go-libp2p/core/crypto"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/hearth-edge/hearth/keys"
	"github.com/hearth-edge/hearth/protocol"
)

// A Config says who this device is, where it listens and whom it dials.
type Config struct {
	Secret     keys.Secret
	Key        crypto.PrivKey
	Name       string
	StateDir   string
	Listen     []ma.Multiaddr
	Interfaces []string
	Peers      []ma.Multiaddr
	Discovery  bool
	OnScore    func(protocol.Score)
	OnPeer     func(p Peer, joined bool, how Departure)
	Log        *slog.Logger
}

// A Mesh is this device's membership in its mesh.
type Mesh struct{ cfg Config }

// New makes a Mesh.
func New(cfg Config) (*Mesh, error) { return &Mesh{cfg: cfg}, nil }

var errNotBuilt = errors.New("p2p: not built")

func (m *Mesh) Run(ctx context.Context) error { return errNotBuilt }
func (m *Mesh) Ready() <-chan struct{}        { return nil }
func (m *Mesh) ID() protocol.NodeID           { return "" }
func (m *Mesh) Addresses() []string           { return nil }

func (m *Mesh) Handle(proto string, h func(ctx context.Context, from protocol.NodeID, s protocol.Stream)) {
}

func (m *Mesh) Open(ctx context.Context, to protocol.NodeID, proto string) (protocol.Stream, error) {
	return nil, errNotBuilt
}

func (m *Mesh) Publish(s protocol.Score) error { return errNotBuilt }
func (m *Mesh) Peers() []Peer                  { return nil }
func (m *Mesh) Strangers() []Stranger          { return nil }
func (m *Mesh) Conflicts() []Conflict          { return nil }
func (m *Mesh) Discovery() DiscoveryStatus     { return DiscoveryStatus{} }
